"""The page Tune: what it shows is what replay says, and what it proposes waits in shadow."""

import re
import time

import numpy as np
import pytest
import sqlalchemy as sa

from guardrail.console.tables import POLICY_VERSIONS
from guardrail.console.tune_settings import list_sliders, own_numbers, read_setting
from guardrail.errors import RequestError
from guardrail.images.keys import NoiseKey
from guardrail.policy.load import load_policy
from guardrail.records.review import new_label
from guardrail.records.writer import RecordWriter
from guardrail.replay.endings import Ending
from guardrail.replay.replay import replay_policy
from tests.console.conftest import ROLES, form_token, make_client, post, sign_in
from tests.console.policy_stand import open_files, opened
