# measure: the bundles of an experiment's recipes → the energy of a request to each, measured side by side. Config:
# `deploy`. One job measures all recipes, so a changed or an added recipe measures its experiment again: figures of
# different times don't compare. Servers, load generators and probes are metered separately. No other job runs on the
# host, since speed is a result.


rule measure:
    input:
        bundles=each_recipe(layout.BUNDLE),
        predictions=each_recipe(layout.PREDICTIONS),
    output:
        measurement=layout.MEASUREMENT,
        energy="<results>/energy/measure/{experiment}/seed-{seed}.json",
        energy_serve=directory("<results>/energy/serve/{experiment}/seed-{seed}"),
        energy_load=directory("<results>/energy/load/{experiment}/seed-{seed}"),
        energy_probe=directory("<results>/energy/probe/{experiment}/seed-{seed}"),
    log:
        "<logs>/measure/{experiment}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/measure/{experiment}/seed-{seed}.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.measure.threads
    resources:
        **needs("measure"),
    params:
        threads=fixed_threads("measure"),
        settings=lambda wildcards: settings(PLAN.deployment(wildcards.experiment)),
        evaluation=lambda wildcards: settings(PLAN.evaluation(wildcards.experiment), include={"max_tokens"}),
        servers=server_options,
        device=STUDY.device,
        claimed=cgroup_option,
    message:
        "measure {wildcards.experiment} seed {wildcards.seed}"
    shell:
        metered(
            "measure",
            "python -m greenllm measure --settings {params.settings:q} --evaluation-settings {params.evaluation:q}"
            " {params.servers} --threads {params.threads} --device {params.device} --seed {wildcards.seed} "
            + wildcard_options("experiment", "seed")
            + " --energy-serve {output.energy_serve:q} --energy-load {output.energy_load:q}"
            " --energy-probe {output.energy_probe:q} --out {output.measurement:q}",
            wildcards=("experiment", "seed"),
            threads="{params.threads}",
            options="--exclusive {params.claimed}",
        )
