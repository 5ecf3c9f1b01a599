# GreenLLM: collect → preprocess → train → compress → evaluate → deploy → measure → account → report, every job under the
# energy meter. `snakemake --cores 8 --resources gpu=2` makes the report of the study in config/config.yaml;
# `--configfile FILE` reads another study. Keys: config/README.md. Logic: workflow/greenllm.

from snakemake.utils import min_version

min_version("9.20")


report: "workflow/report/workflow.rst"


# Another study replaces the default one; with `configfile:` alone, Snakemake would merge the two.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


pathvars:
    results=STUDY.results,
    benchmarks=f"{STUDY.results}/benchmarks",


include: "workflow/rules/collect.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/account.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/exports.smk"
include: "workflow/rules/planned_starts.smk"


rule all:
    default_target: True
    input:
        rules.efficiency.output,
        rules.impact.output,
        rules.report.output,
        rules.exports.output,
    localrule: True


onsuccess:
    ended(succeeded=True)
    if (page := layout.located(layout.PAGE, STUDY.results)).is_file():  # none with `--until`
        print(f"\nThe report: {page}", file=sys.stderr)


# A failed workflow has used energy too: print it, from the ledgers of its jobs.
onerror:
    ended(succeeded=False)
    shell("python -m greenllm attribute {LEDGER:q} >&2 || true")
