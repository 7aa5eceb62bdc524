{#-
    One row per key, and a rule that every row keeps: one test of both costs half of two. Fails with each key that
    occurs more than once (NULL equals NULL) and each row for which the rule is not true (NULL is not).
-#}
{% test sound(model, key, rule='true') %}
select
    {{ key | join(', ') }},
    count(*) as rows_count,
    'key' as broken
from {{ model }}
group by {{ key | join(', ') }}
having count(*) > 1
union all
select
    {{ key | join(', ') }},
    1 as rows_count,
    'rule' as broken
from {{ model }}
where not coalesce({{ rule }}, false)
{% endtest %}
