"""CodeCarbon's `emissions.csv`: one row for each attempt, with the columns and units of its EmissionsData.

Columns: codecarbon 3.3.2, output_methods/emissions_data.py: energies in kWh, emissions in kg CO2e, rates in kg/s,
powers in W, all times PUE where one is given. An unknown value is an empty cell. An attempt's row does not include the
attempts inside it, such as the servers of a measurement, so all rows add up to what the study spent. Emissions are
those of the footprint, with the attempt's share of its host's idle energy, which the columns of energy do not have.
"""

import csv
import io
import re
from collections.abc import Mapping

from greenllm.account.document import Account, JobRow
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form
from greenllm.exports.stages import Stage, duration_s, version_of
from greenllm.footprint.carbon import J_PER_kWh

COLUMNS = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip
g_PER_kg = 1000.0
COMPONENTS = {"cpu": "cpu", "gpu": "gpu", "ram": "dram"}  # CodeCarbon's name → ours


def _files(exported: Exported) -> Files:
    account = exported.account
    known = [job for job in account.jobs if job.energy_J is not None and job.standing != "running"]
    if not known:
        raise DoesNotApplyError("no attempt's energy is known; look at `unknown` of the jobs in account.json")
    site = consequences(account, exported.footprint)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(account, job, site) for job in known)
    return {"emissions.csv": text.getvalue()}


def _row(account: Account, job: JobRow, site: Consequences) -> Mapping[str, object]:
    stage = Stage(job.rule, job.recipe, (job,))
    scale = 1.0 if site.pue is None else site.pue.value
    lasted_s = duration_s(job)
    energies_J = {name: stage.component_J(component) for name, component in COMPONENTS.items()}
    carbon = site.carbon_g(stage)
    kg = None if carbon is None else carbon.value / g_PER_kg
    joules = {name: energy and energy.value * scale for name, energy in energies_J.items()}
    gpus = sorted({part.device for part in stage.parts if part.component == "gpu"})
    name, code = site.country or (None, None)
    row: dict[str, object | None] = {
        "timestamp": re.sub(r"(\.\d+)?Z$", "", job.ended or job.started),
        "project_name": "/".join(filter(None, (job.experiment, job.recipe, job.rule))),
        "run_id": job.id,
        "experiment_id": job.run_id,
        "duration": lasted_s,
        "emissions": kg,
        "emissions_rate": kg / lasted_s if kg is not None and lasted_s else None,
        "energy_consumed": job.energy_J and job.energy_J.value * scale / J_PER_kWh,
        "country_name": name,
        "country_iso_code": code,
        "python_version": account.packages.get("python"),
        "codecarbon_version": f"none: greenllm {version_of(account)}",
        "gpu_count": len(gpus) or None,
        "gpu_model": ", ".join(gpus) or None,
        "tracking_mode": "process",
        "pue": site.pue and site.pue.value,
        **{f"{name}_energy": energy and energy / J_PER_kWh for name, energy in joules.items()},
        **{f"{name}_power": energy / lasted_s if energy and lasted_s else None for name, energy in joules.items()},
    }
    return {column: value for column, value in row.items() if value is not None}


FORM = Form("codecarbon", "CodeCarbon emissions.csv", _files)
