"""A recipe → YAML text."""

import io
from typing import Any

from ruamel.yaml import YAML


def to_yaml(content: dict[str, Any]) -> str:
    """Block style, keys in their order; reading it back gives the same content."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(content, text)
    return text.getvalue()
