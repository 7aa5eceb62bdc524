{#- Fails with each row for which the expression is not true; NULL fails. -#}
{% test expression_holds(model, expression) %}
select *
from {{ model }}
where not coalesce({{ expression }}, false)
{% endtest %}
