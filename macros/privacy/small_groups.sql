{#- Which figures of people may be shown: docs/guides/privacy.md#small-groups. -#}

{#- A query of the groups of `engagement` that may be shown: a day's devices of a product and platform, if they are enough. -#}
{% macro groups_shown(engagement) %}
    select
        event_date,
        product,
        platform
    from {{ engagement }}
    group by event_date, product, platform
    having count(distinct device_key) >= {{ var('smallest_group') }}
{% endmacro %}

{#- Whether one device dominates a sum: `most` is what the device with the most has of it. -#}
{% macro is_dominated(most, sum) -%}
cast({{ most }} as double) > {{ var('largest_share') }} * cast({{ sum }} as double)
{%- endmacro %}

{#-
    Whether a part of a known total is shown: it is no small group, and those that are, or have to be left out with them, are
    enough without it. `before` is how many the smaller parts are together.
-#}
{% macro is_part_shown(count, before) -%}
({{ count }} >= {{ var('smallest_group') }} and ({{ before }} = 0 or {{ before }} >= {{ var('smallest_group') }}))
{%- endmacro %}

{#-
    Whether those left of a group, once a part of it is shown, are enough for that: they are a group too, and nobody is as few
    as somebody. Where groups of one are shown, nothing is to be kept from being told.
-#}
{% macro is_enough_left(count) -%}
{%- if var('smallest_group') > 1 -%}({{ count }} >= {{ var('smallest_group') }}){%- else -%}true{%- endif -%}
{%- endmacro %}
