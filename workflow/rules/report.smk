# report: the account → one self-contained page with figures and tables, and summary.json with all its numbers. The page
# says what the verification found.


rule report:
    input:
        account=rules.account.output.account,
        footprint=rules.impact.output.footprint,
        verification=rules.verify.output.verification,
    output:
        page=report(
            layout.PAGE,
            caption="../report/page.rst",
            category="Report",
        ),
        summary=report(
            layout.SUMMARY,
            caption="../report/summary.rst",
            category="Report",
        ),
        comparison=report(
            "<results>/report/tables/comparison.csv",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"table": "comparison"},
        ),
        recommendation=report(
            "<results>/report/tables/recommendation.csv",
            caption="../report/recommendation.rst",
            category="Tables",
            labels={"table": "recommendation"},
        ),
        sizes=report(
            "<results>/report/tables/sizes.csv",
            caption="../report/sizes.rst",
            category="Tables",
            labels={"table": "sizes"},
        ),
        quality_energy=report(
            "<results>/report/figures/quality-energy.svg",
            caption="../report/quality-energy.rst",
            category="Figures",
            labels={"figure": "quality against energy per request"},
        ),
        energy_by_stage=report(
            "<results>/report/figures/energy-by-stage.svg",
            caption="../report/energy-by-stage.rst",
            category="Figures",
            labels={"figure": "energy by stage"},
        ),
        power=report(
            "<results>/report/figures/power.svg",
            caption="../report/power.rst",
            category="Figures",
            labels={"figure": "power over time"},
        ),
        energy="<results>/energy/report.json",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        **needs(),
    params:
        folder=lambda wildcards, output: Path(output.page).parent,
    message:
        "report"
    shell:
        metered(
            "report",
            "python -m greenllm report --account {input.account:q} --footprint {input.footprint:q}"
            " --verification {input.verification:q} --out {params.folder:q}",
        )
