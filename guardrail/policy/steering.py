"""Fields of a request by which gateways and providers bring in what one decision is not about.

Every answer of a decision has to come from one model, asked for what the guard sees. These fields
let another model answer some of the calls, or put into the prompt what is fetched elsewhere. They
are refused by name unless a policy allows them (`advanced.requests.allow`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STEERING_FIELDS"]

_ROUTING = (
    "lets another model answer some of the calls, while one decision is about one model; leave it "
    "out"
)
_FETCHING = "puts into the prompt what is fetched elsewhere and not seen here; leave it out"

STEERING_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            # OpenRouter; its names are used by other routers as well.
            *("models", "route", "provider", "preset", "fallbacks", "allowed_models"),
            # Vercel's gateway; LiteLLM; others.
            *("providerOptions", "provider_options", "router", "routing", "routing_strategy"),
            *("context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"),
            *("context_window_fallback_dict", "model_fallbacks", "fallback_models", "user_config"),
            *("specific_deployment", "targets"),
        ),
        _ROUTING,
    ),
    **dict.fromkeys(
        (
            # OpenRouter: `plugins` search the web and read files, `transforms` cut messages out.
            *("plugins", "transforms"),
            # Azure, Cohere, xAI, Qwen, Baidu, Perplexity, Groq, LiteLLM.
            *("data_sources", "dataSources", "connectors", "search_parameters", "enable_search"),
            *("search_options", "web_search", "web_search_options", "enable_web_search"),
            *("search_mode", "search_settings", "search_domain_filter", "search_recency_filter"),
            *("search_after_date_filter", "search_before_date_filter", "return_images"),
            *("compound_custom", "vector_store_ids", "knowledge_base", "mcp_servers"),
            # Prompts that are kept elsewhere and put in place of, or beside, the messages.
            *("prompt_id", "prompt_label", "prompt_variables", "prompt_version"),
        ),
        _FETCHING,
    ),
}
"""What each of them does, and the remedy."""
