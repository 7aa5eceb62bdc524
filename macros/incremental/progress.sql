{#-
    What a model has to do in this build, and what it keeps of it. Tidemark works it out before dbt begins
    (flows/build/plan.py says how builds stay exact and cheap), and every model finds its own step in its meta.
-#}

{#-
    The step of the running model: `is_whole`, or for the batches after `seen` up to and with `upto`. Where dbt was started
    without Tidemark there is none: it is not known what built what is there, so every model is built whole.
-#}
{% macro step() %}
    {% do return(model.config.get('meta', {}).get('step', {'is_whole': true})) %}
{% endmacro %}

{#- The batches an incremental run of this model is for: those after `seen`, up to and with `upto`. -#}
{% macro batches_to_see() %}
    {% do refuse_in_unit_test("batches_to_see: {seen: 1, upto: 2}") %}
    {% do return({'seen': step().seen, 'upto': step().upto}) %}
{% endmacro %}

{#-
    Post-hook, inside the model's own transaction: what the model has now seen, and by which logic. A build of chosen days
    (backfill) sees no batch: what is new to the model stays so. No mark of a logic is equal to the empty one: what dbt
    built without Tidemark, or `--empty` without its rows, the next build makes again. Of a model that was built whole
    nothing was kept (clear_before_whole_build), so it is a new row, with a new number of the change that built it whole.
-#}
{% macro record_progress() %}
    {% if execute and model.config.materialized in ('incremental', 'table') and flags.WHICH in ('build', 'run', 'retry') %}
    {% if 'upto' in step() %}
        {% set seen = step().seen if backfill_days() else step().upto %}
    {% else %}
        {#- Without Tidemark: it was read whole, and counts for nothing but the audit, as it has no mark. -#}
        {% set seen = '(select coalesce(max(batch_id), 0) from landed.landings)' %}
    {% endif %}
    {% set datasets = "['" ~ step().get('datasets', ['*']) | join("', '") ~ "']" %}
    {% set logic = "'" ~ ('' if flags.EMPTY else step().get('mark', '')) ~ "'" %}
    update ops.model_progress
    set batch_id = {{ seen }}, datasets = {{ datasets }}, logic = {{ logic }}, marked_at = {{ utc_now() }}
    where model = '{{ model.name }}';
    insert into ops.model_progress
    select '{{ model.name }}', {{ seen }}, {{ datasets }}, {{ logic }}, nextval('ops.change_number'), {{ utc_now() }}
    where not exists (select 1 from ops.model_progress where model = '{{ model.name }}');
    {{ record_changes() }}
    {% endif %}
{% endmacro %}
