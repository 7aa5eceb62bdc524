{#-
    on-run-start: the mark that a run began. The tables it is kept in are made before dbt begins (flows/build/warehouse.py,
    flows/build/dbt_plugin.py). What `--empty` builds is of no project: the next build does everything again.
-#}
{% macro prepare_warehouse() %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'test', 'seed', 'retry') %}{% do return('') %}{% endif %}
    insert into ops.dbt_runs values (
        '{{ invocation_id }}', '{{ flags.WHICH }}', {{ is_whole_build() }}, '{{ '' if flags.EMPTY else env_var('TIDEMARK_PROJECT', '') }}',
        {{ utc_now() }}, null, 'running'
    );
{% endmacro %}

{#- Whether the run is to make every model. -#}
{% macro is_whole_build() %}
    {% do return(flags.WHICH == 'build' and not (invocation_args_dict.get('select') or invocation_args_dict.get('exclude'))) %}
{% endmacro %}
