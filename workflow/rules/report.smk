# report: the account and all measurements → one self-contained page with its figures and tables, and summary.json.


rule report:
    input:
        account=rules.account.output.account,
    output:
        page="<results>/report/index.html",
        summary="<results>/report/summary.json",
        energy="<results>/energy/report.json",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        gpu=0,
        attempt=current_attempt,
    params:
        study=settings(STUDY),
        results=STUDY.results,
    message:
        "report"
    shell:
        "meter --rule report --attempt {resources.attempt} --threads {threads} --gpus {resources.gpu}"
        " --out {output.energy} --"
        " python -m greenllm report --config {params.study:q} --results {params.results} --out {params.results}/report > {log} 2>&1"
