# account: all ledgers → all energy attributed to jobs, the energy of each stage, recipe and experiment, and two tables:
# `efficiency` (E = C/R, energy per unit of work) and `impact` (joules, kWh, grams). Config: `meter.policy`, `site`.
# These jobs are metered too. Their ledgers are written after the account, so the next account includes them.


rule account:
    input:
        quality=each_compared_model(layout.EVALUATION),
        measurements=each_measurement(layout.MEASUREMENT),
    output:
        study=layout.STUDY,
        attribution=layout.ATTRIBUTION,
        account=layout.ACCOUNT,
        energy="<results>/energy/account.json",
    log:
        "<logs>/account.log",
    benchmark:
        "<benchmarks>/account.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        **needs(),
    params:
        study=lambda wildcards: settings(STUDY),  # a function, since Snakemake fills in braces of a text
        digest=lambda wildcards: hashlib.sha256(settings(STUDY).encode()).hexdigest(),
        folder=lambda wildcards, output: Path(output.account).parent,
        files=signal_files,  # in no command, as in collect.smk
    message:
        "account for every joule"
    shell:
        # By a file, which the shell writes: Linux passes no argument of more than 128 KiB (execve(2), MAX_ARG_STRLEN),
        # and the study of some 400 recipes is longer.
        "printf %s {params.study:q} > {output.study:q}; "
        + metered(
            "account",
            "python -m greenllm account --config {output.study:q} --out {params.folder:q}",
            options="--config {params.digest}",
        )


# What the page rests on, verified; it fails only where nothing can be verified. `greenllm verify RESULTS` verifies the
# page, too.
rule verify:
    input:
        attribution=rules.account.output.attribution,
        account=rules.account.output.account,
        footprint=layout.FOOTPRINT,
        exports=layout.EXPORTS,
        quality=each_compared_model(layout.EVALUATION),
        measurements=each_measurement(layout.MEASUREMENT),
    output:
        verification=layout.VERIFICATION,
        energy="<results>/energy/verify.json",
    log:
        "<logs>/verify.log",
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        **needs(),
    params:
        results=lambda wildcards: STUDY.results,  # a function, since the name of a folder may contain braces
    message:
        "verify the account"
    shell:
        metered("verify", "python -m greenllm verify {params.results:q} --record {output.verification:q}")


rule efficiency:
    input:
        account=rules.account.output.account,
    output:
        csv=report(
            "<results>/report/tables/efficiency.csv",
            caption="../report/efficiency.rst",
            category="Tables",
            labels={"table": "energy per unit of work"},
        ),
        others=multiext("<results>/report/tables/efficiency", ".md", ".tex", ".parquet"),
        energy="<results>/energy/efficiency.json",
    log:
        "<logs>/efficiency.log",
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        **needs(),
    message:
        "table: energy per unit of work"
    shell:
        metered(
            "efficiency",
            "python -m greenllm report --account {input.account:q} --table efficiency --out {output.csv:q}",
        )


rule impact:
    input:
        account=rules.account.output.account,
        attribution=rules.account.output.attribution,
    output:
        csv=report(
            "<results>/report/tables/impact.csv",
            caption="../report/impact.rst",
            category="Tables",
            labels={"table": "environmental impact"},
        ),
        others=multiext("<results>/report/tables/impact", ".md", ".tex", ".parquet"),
        footprint=layout.FOOTPRINT,
        energy="<results>/energy/impact.json",
    log:
        "<logs>/impact.log",
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        **needs(),
    params:
        results=lambda wildcards: STUDY.results,  # a function, since Snakemake fills in braces of a text
        files=site_files,  # in no command, as in collect.smk
    message:
        "table: environmental impact"
    shell:
        metered(
            "impact",
            "python -m greenllm footprint {params.results:q} --out {output.footprint:q} --table {output.csv:q}",
        )
