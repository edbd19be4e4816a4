"""All forms of laws. A curve is fitted with one of them; the report compares it with the others."""

from wukongctl.config.report import FormName
from wukongctl.laws.form import Form
from wukongctl.laws.loglinear import LOG_LINEAR
from wukongctl.laws.power import POWER, POWER_KNOWN, POWER_ZERO

FORMS: tuple[Form, ...] = (POWER, POWER_ZERO, POWER_KNOWN, LOG_LINEAR)


def form_named(name: FormName) -> Form:
    """The form of that name."""
    return next(form for form in FORMS if form.name == name)
