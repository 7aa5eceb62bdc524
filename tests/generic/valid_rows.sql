{#-
    No two rows have one key (NULL equals NULL), the columns of `not_null` hold values, and each of the `rules`, conditions
    by name, is true for every row (NULL is not). One test of all of them costs little more than one of them. Each row
    of a failure says which rules are broken.
-#}
{% test valid_rows(model, key, not_null=[], rules={}) %}
{%- set conditions = {} -%}
{%- for column in not_null %}{% do conditions.update({column ~ ' is given': column ~ ' is not null'}) %}{% endfor -%}
{%- for name, rule in rules.items() %}{% do conditions.update({name: 'coalesce(' ~ rule ~ ', false)'}) %}{% endfor -%}
select
    {{ key | join(', ') }},
    count(*) as rows_count,
    'one row per {{ key | join(', ') }}' as broken_rules
from {{ model }}
group by {{ key | join(', ') }}
having count(*) > 1
{%- if conditions %}
union all
select
    {{ key | join(', ') }},
    1 as rows_count,
    concat_ws(
        ', '{% for name, condition in conditions.items() %},
        case when not {{ condition if condition.startswith('coalesce') else '(' ~ condition ~ ')' }} then '{{ name | replace("'", "''") }}' end{% endfor %}
    ) as broken_rules
from {{ model }}
where not ({{ conditions.values() | join(' and ') }})
{%- endif %}
{% endtest %}
