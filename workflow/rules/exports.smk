# exports: the account → a folder for each form that others ask for and that applies, such as an ML-BOM; README.md there
# lists all forms, and why one does not apply.


rule exports:
    input:
        account=rules.account.output.account,
        footprint=rules.impact.output.footprint,
    output:
        exports=directory(layout.EXPORTS),
        energy="<results>/energy/exports.json",
    log:
        "<logs>/exports.log",
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        **needs(),
    params:
        results=lambda wildcards: STUDY.results,  # a function, since Snakemake fills in braces of a text
    message:
        "exports"
    shell:
        metered("exports", "python -m greenllm export {params.results:q} --to all --out {output.exports:q}")
