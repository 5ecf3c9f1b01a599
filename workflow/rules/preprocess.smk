# preprocess: collected data → clean, split and tokenized rows. Config: `experiments.<name>.preprocess`.
# A model that is already trained brings its own tokenizer.


rule preprocess:
    input:
        data=rules.collect.output.data,
        model=source_model,
    output:
        data=directory(layout.PREPARED),
        energy="<results>/energy/preprocess/{experiment}.json",
    log:
        "<logs>/preprocess/{experiment}.log",
    benchmark:
        "<benchmarks>/preprocess/{experiment}.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.preprocess.threads
    resources:
        **needs("preprocess"),
        # Not a param: a change of the rows that are evaluated must not prepare the data and train again.
        evaluated_rows=lambda wildcards: PLAN.evaluation(wildcards.experiment).rows or 0,
    params:
        task=task,
        settings=preprocess_settings,
        model=source_model_option,
        chat=chat_options,
        context=context_option,
    message:
        "preprocess {wildcards.experiment}"
    shell:
        metered(
            "preprocess",
            "python -m greenllm preprocess --task {params.task} --settings {params.settings:q} --data {input.data:q}"
            " {params.model} {params.chat} {params.context} --evaluated-rows {resources.evaluated_rows}"
            " --out {output.data:q}",
            wildcards=("experiment",),
        )
