{#-
    How builds stay exact and cheap.

    Every landed row carries its batch, and batch numbers only grow. Each incremental model keeps, in
    ops.model_progress and in the transaction that writes the model, the last batch it has seen. What it has
    still to do is what lies between that and the last batch that everything above it has seen. A build that
    stopped half-way therefore needs no repair: the next one finds in each model where it stopped.
-#}

{#- The last batch that `node` has seen; for a view or table, the last that everything it reads has seen. -#}
{% macro batch_seen_by(node, progress) %}
    {% if node.config.materialized == 'incremental' %}
        {% do return(progress.get(node.name, {}).get('batch_id', 0)) %}
    {% endif %}
    {% do return(batch_seen_above(node, progress)) %}
{% endmacro %}

{% macro batch_seen_above(node, progress) %}
    {% set seen = [] %}
    {% for parent_id in node.depends_on.nodes %}
        {% if parent_id.startswith('model.') %}
            {% do seen.append(batch_seen_by(graph.nodes[parent_id], progress)) %}
        {% elif parent_id.startswith('source.') %}
            {% do seen.append(progress['']['batch_id']) %}
        {% endif %}
    {% endfor %}
    {% do return((seen or [progress['']['batch_id']]) | min) %}
{% endmacro %}

{#-
    A mark of the logic that made a model: its SQL, its seeds, the project's variables, and the same of
    everything above it. A model whose logic is not the one that built it is rebuilt whole.
-#}
{% macro logic_of(node) %}
    {% set ids, queue = [], [node.unique_id] %}
    {% for _ in range(1000) if queue %}
        {% set id = queue.pop() %}
        {% if id not in ids and id in graph.nodes %}
            {% do ids.append(id) %}
            {% do queue.extend(graph.nodes[id].depends_on.nodes) %}
        {% endif %}
    {% endfor %}
    {% set marks = [] %}
    {% for id in ids | sort %}
        {% do marks.append(id ~ '=' ~ graph.nodes[id].checksum.checksum) %}
    {% endfor %}
    {% for name in ['timezone', 'session_gap_minutes', 'late_after_hours'] %}
        {% do marks.append(name ~ '=' ~ var(name)) %}
    {% endfor %}
    {% do return(local_md5(marks | join(','))) %}
{% endmacro %}

{#- What every model has seen, by its name; under '' the last landing the warehouse knows of. -#}
{% macro read_progress() %}
    {% set progress = {} %}
    {% set rows = run_query("
        select model, batch_id, logic from ops.model_progress
        union all select '', coalesce(max(batch_id), 0), '' from landed.landings
    ") %}
    {% for row in rows %}
        {% do progress.update({row[0]: {'batch_id': row[1] | int, 'logic': row[2]}}) %}
    {% endfor %}
    {% do return(progress) %}
{% endmacro %}

{#- The batches an incremental run of this model is for: those after `seen`, up to and with `upto`. -#}
{% macro batches_to_see() %}
    {% set progress = read_progress() %}
    {% do return({
        'seen': progress.get(model.name, {}).get('batch_id', 0),
        'upto': batch_seen_above(model, progress),
    }) %}
{% endmacro %}

{#- Post-hook, inside the model's own transaction: what it has now seen, and by which logic. -#}
{% macro mark_progress() %}
    {% if execute and model.config.materialized == 'incremental' and flags.WHICH in ('build', 'run', 'retry') %}
    delete from ops.model_progress where model = '{{ model.name }}';
    insert into ops.model_progress values (
        '{{ model.name }}',
        {{ batch_seen_above(model, read_progress()) }},
        '{{ logic_of(model) }}',
        {{ utc_now() }}
    );
    {% endif %}
{% endmacro %}

{#- dbt's own rule, and one more: a model that another logic built, or that kept no progress, is rebuilt whole. -#}
{% macro should_full_refresh() %}
    {% set asked = config.get('full_refresh') %}
    {% if asked is none %}{% set asked = flags.FULL_REFRESH %}{% endif %}
    {% if asked or not execute or model.config.materialized != 'incremental' %}{% do return(asked) %}{% endif %}
    {% if load_relation(this) is none %}{% do return(asked) %}{% endif %}
    {% do return(read_progress().get(model.name, {}).get('logic') != logic_of(model)) %}
{% endmacro %}
