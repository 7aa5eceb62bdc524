{#-
    The tables that a build reads or writes besides its models, made where they are missing:

    landed.landings      one row per delivered file, entered by `tidemark build` from the receipts in the lake
    ops.model_progress   one row per model: the last landing it has seen, and by which logic
    ops.dbt_results      one row per node and run: what was built or tested, and how it went
-#}
{% macro prepare_warehouse() %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'test', 'seed', 'compile', 'show', 'retry') %}{% do return('') %}{% endif %}
    create schema if not exists landed;
    create schema if not exists ops;
    create table if not exists landed.landings (
        batch_id bigint not null,
        dataset string not null,
        source string,
        file string not null,
        sha256 string not null,
        bytes bigint not null,
        format string,
        status string not null,
        reason string,
        rows_read bigint not null,
        rows_landed bigint not null,
        rows_rejected bigint not null,
        unknown_keys bigint not null,
        data_path string,
        rejects_path string,
        supersedes_batch_id bigint,
        contract string,
        delivered_at timestamp,
        landed_at timestamp not null
    );
    create table if not exists ops.model_progress (
        model string not null,
        batch_id bigint not null,
        logic string not null,
        marked_at timestamp not null
    );
    create table if not exists ops.dbt_results (
        run_id string not null,
        node_id string not null,
        resource_type string not null,
        node_name string not null,
        status string not null,
        failures bigint,
        message string,
        started_at timestamp,
        finished_at timestamp,
        execution_seconds double not null,
        recorded_at timestamp not null
    );
{% endmacro %}
