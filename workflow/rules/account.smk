# account: all ledgers → every joule shared out among the jobs, the energy of each stage, recipe and experiment, and
# the two tables `efficiency` (E = C/R, energy per unit of work) and `impact` (joules, kWh, grams), by `meter.policy`
# and `site`. Metered too: its own ledger comes after, and is in the next account.


rule account:
    input:
        quality=compared("<results>/evaluations/{experiment}/{recipe}/seed-{seed}.json"),
        measurements=compared("<results>/deployments/{experiment}/{recipe}/seed-{seed}/measurement.json"),
    output:
        attribution="<results>/account/attribution.json",
        account="<results>/account/account.json",
        energy="<results>/energy/account.json",
    log:
        "<logs>/account.log",
    benchmark:
        "<benchmarks>/account.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        gpu=0,
        attempt=current_attempt,
    params:
        study=lambda wildcards: settings(STUDY),  # a function: its text may hold braces of its own
        folder=lambda wildcards, output: Path(output.account).parent,
    message:
        "account for every joule"
    shell:
        "meter --rule account --attempt {resources.attempt} --threads {threads} --gpus {resources.gpu}"
        " --input {input:q} --output {output:q} --out {output.energy:q} --"
        " python -m greenllm account --config {params.study:q} --out {params.folder:q}"
        " > {log:q} 2>&1"


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
        gpu=0,
        attempt=current_attempt,
    message:
        "table: energy per unit of work"
    shell:
        "meter --rule efficiency --attempt {resources.attempt} --threads {threads} --gpus {resources.gpu}"
        " --input {input:q} --output {output:q} --out {output.energy:q} --"
        " python -m greenllm report --account {input.account:q} --table efficiency --out {output.csv:q} > {log:q} 2>&1"


rule impact:
    input:
        account=rules.account.output.account,
    output:
        csv=report(
            "<results>/report/tables/impact.csv",
            caption="../report/impact.rst",
            category="Tables",
            labels={"table": "environmental impact"},
        ),
        others=multiext("<results>/report/tables/impact", ".md", ".tex", ".parquet"),
        energy="<results>/energy/impact.json",
    log:
        "<logs>/impact.log",
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        gpu=0,
        attempt=current_attempt,
    message:
        "table: environmental impact"
    shell:
        "meter --rule impact --attempt {resources.attempt} --threads {threads} --gpus {resources.gpu}"
        " --input {input:q} --output {output:q} --out {output.energy:q} --"
        " python -m greenllm report --account {input.account:q} --table impact --out {output.csv:q} > {log:q} 2>&1"
