{#- A layer's schema has the layer's own name in every environment: environments are separate files. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name and target.name != 'published' else target.schema }}
{%- endmacro %}
