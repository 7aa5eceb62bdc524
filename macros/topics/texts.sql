{#- The id by which topics know the text of a landed row: its dataset, batch and line, as flows/topics/texts.py has it. -#}
{% macro text_id(dataset) -%}
'{{ dataset }}-' || cast(_batch_id as {{ dbt.type_string() }}) || '-' || cast(_line as {{ dbt.type_string() }})
{%- endmacro %}
