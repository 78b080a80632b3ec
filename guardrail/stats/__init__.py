"""The statistics of the promise: NumPy and SciPy only, so that it can be reviewed by reading."""

from __future__ import annotations

from guardrail.stats.availability import (
    FAULT_SHARES,
    FaultForecast,
    pass_rates_under_faults,
)
from guardrail.stats.betting import betting_plan
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.bounded_mean import mean_upper
from guardrail.stats.combined_misses import cascade_miss_upper, delta_upper, k_of_n_miss_upper
from guardrail.stats.confseq import (
    ConfidenceSequence,
    anytime_interval,
    anytime_lower,
    anytime_upper,
)
from guardrail.stats.delivered import (
    LabelledDraw,
    delivered_harm_upper,
    fewest_harmful_delivered,
    most_harmful_delivered,
)
from guardrail.stats.explain import RadiusInWords, explain_radius
from guardrail.stats.failover import failover_alpha
from guardrail.stats.false_alarms import OperatingPoint, recall_at_false_alarms
from guardrail.stats.fixed import fixed_plan
from guardrail.stats.laws import Prior, ScalingLaw, scaling_law
from guardrail.stats.observed import (
    ObservedCounts,
    ObservedStratum,
    RateInterval,
    anytime_rate_interval,
    fewest_observed,
    mixture_interval,
    rate_interval,
    stratified_list_interval,
)
from guardrail.stats.optimal import Objective, Optimum, optimal_plan, optimum
from guardrail.stats.planning import Forecast, PlanForecast, PlanScenario, calls_curve, forecast
from guardrail.stats.plans import Decision, Plan, PlanKind
from guardrail.stats.radius import (
    FLOORS,
    LEAST_FLOOR,
    certified_floor,
    certified_radius,
    fewest_samples,
    floor_with_misses,
    required_harmless_rate,
    round_norm_up,
    unanimous_ceiling,
)
from guardrail.stats.recall import (
    NOT_HELD,
    RECALLS,
    RecallReach,
    RecallStaircase,
    fewest_requests,
    fewest_shown,
    giving_up_counts,
    held_radius,
    radii_by_recall,
    radius_at_recall,
    recall_lower,
    recall_staircase,
)
from guardrail.stats.reported import harmless_rate_after_pass
from guardrail.stats.rounding import round_down
from guardrail.stats.spending import spending_level, spent_alpha
from guardrail.stats.stratified import (
    ScoredStratum,
    choose_stratified_threshold,
    stratified_false_alarm_upper,
    stratified_miss_upper,
)
from guardrail.stats.threat_recall import (
    fewest_view_draws,
    most_passable,
    shown_by_all,
    shown_by_some,
)
from guardrail.stats.threshold import (
    BoundedThreshold,
    choose_threshold,
    false_alarm_upper_at_any_threshold,
    fewest_harmful,
    fixed_threshold,
    most_misses,
)
from guardrail.stats.traffic import Traffic
from guardrail.stats.views import combined_power, power_of_each

__all__ = [
    "FAULT_SHARES",
    "FLOORS",
    "LEAST_FLOOR",
    "NOT_HELD",
    "RECALLS",
    "BoundedThreshold",
    "ConfidenceSequence",
    "Decision",
    "FaultForecast",
    "Forecast",
    "LabelledDraw",
    "Objective",
    "ObservedCounts",
    "ObservedStratum",
    "OperatingPoint",
    "Optimum",
    "Plan",
    "PlanForecast",
    "PlanKind",
    "PlanScenario",
    "Prior",
    "RadiusInWords",
    "RateInterval",
    "RecallReach",
    "RecallStaircase",
    "ScalingLaw",
    "ScoredStratum",
    "Traffic",
    "anytime_interval",
    "anytime_lower",
    "anytime_rate_interval",
    "anytime_upper",
    "betting_plan",
    "calls_curve",
    "cascade_miss_upper",
    "certified_floor",
    "certified_radius",
    "choose_stratified_threshold",
    "choose_threshold",
    "combined_power",
    "delivered_harm_upper",
    "delta_upper",
    "explain_radius",
    "failover_alpha",
    "false_alarm_upper_at_any_threshold",
    "fewest_harmful",
    "fewest_harmful_delivered",
    "fewest_observed",
    "fewest_requests",
    "fewest_samples",
    "fewest_shown",
    "fewest_view_draws",
    "fixed_plan",
    "fixed_threshold",
    "floor_with_misses",
    "forecast",
    "giving_up_counts",
    "harmless_rate_after_pass",
    "harmless_rate_lower",
    "harmless_rate_upper",
    "held_radius",
    "k_of_n_miss_upper",
    "mean_upper",
    "mixture_interval",
    "most_harmful_delivered",
    "most_misses",
    "most_passable",
    "optimal_plan",
    "optimum",
    "pass_rates_under_faults",
    "power_of_each",
    "radii_by_recall",
    "radius_at_recall",
    "rate_interval",
    "recall_at_false_alarms",
    "recall_lower",
    "recall_staircase",
    "required_harmless_rate",
    "round_down",
    "round_norm_up",
    "scaling_law",
    "shown_by_all",
    "shown_by_some",
    "spending_level",
    "spent_alpha",
    "stratified_false_alarm_upper",
    "stratified_list_interval",
    "stratified_miss_upper",
    "unanimous_ceiling",
]
