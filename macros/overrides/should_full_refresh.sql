{#-
    dbt's own rule, and one more: a model that another logic built, or that kept no progress, is rebuilt whole. So is one
    of which it is not known whether another logic built it, or how far what is new reaches.
-#}
{% macro should_full_refresh() %}
    {% set asked = config.get('full_refresh') %}
    {% if asked is none %}{% set asked = flags.FULL_REFRESH %}{% endif %}
    {% if asked or not execute or model.config.materialized != 'incremental' %}{% do return(asked) %}{% endif %}
    {% if load_relation(this) is none %}{% do return(asked) %}{% endif %}
    {% do return(flags.EMPTY or step().is_whole) %}
{% endmacro %}
