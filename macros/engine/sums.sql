{#- The sum of numbers to nine places, the same in whichever order they come: of floating numbers it is not. -#}
{% macro sum_exactly(numbers) -%}
cast(sum(cast({{ numbers }} as decimal(28, 9))) as double)
{%- endmacro %}
