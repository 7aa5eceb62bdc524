{#-
    From when, and until when, a version of a thing counts, for joins with moments: never NULL, and without `or`, by which
    engines compare each row with each. The first version counts for what was before it, too.
-#}
{% macro counts_from(versions) -%}
case when {{ versions }}.version_number = 1 then timestamp '0001-01-01' else {{ versions }}.valid_from end
{%- endmacro %}

{% macro counts_until(versions) -%}
coalesce({{ versions }}.valid_to, timestamp '9999-12-31')
{%- endmacro %}
