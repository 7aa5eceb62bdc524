{#- What a generic test reads: of a model partitioned by day or appended to, what changed since the test passed. -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- set tested = graph.nodes.get(model.attached_node, {}) if execute else {} -%}
    {%- if not where and tested -%}
        {%- if tested.config.get('incremental_strategy') == 'append' -%}
            {%- set where = in_batches_changed([tested.name]) -%}
        {%- elif day_column(tested) -%}
            {%- set where = in_days_changed(day_column(tested), tested.name) -%}
        {%- endif -%}
    {%- endif -%}
    {%- do return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') as tested' if where else relation) -%}
{%- endmacro %}
