"""All forms in which an account can be exported, by their names."""

from greenllm.exports import (
    ai_energy_score,
    boamps,
    codecarbon_csv,
    cyclonedx,
    model_card,
    model_documentation_form,
    ro_crate,
    sci,
)
from greenllm.exports.form import Form

FORMS: dict[str, Form] = {
    module.FORM.name: module.FORM
    for module in (
        cyclonedx,
        boamps,
        model_card,
        codecarbon_csv,
        sci,
        model_documentation_form,
        ai_energy_score,
        ro_crate,
    )
}
