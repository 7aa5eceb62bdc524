{#- Fails with a row for each combination of the columns that occurs more than once; NULL equals NULL. -#}
{% test unique_combination(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as rows_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
