"""Calls about adverts, and what is said in them."""

from __future__ import annotations

# Customer and seller in turn; what a call is about is known to the truth file alone.
PHRASES = {
    "price": [
        "Is there any room on the price? / A little, if you take it this week.",
        "I have seen the same car for less elsewhere. / This one has the service book complete.",
        "What is the lowest you would accept? / I could take two thousand off.",
        "Is that price your last offer? / Make me a bid and we will see.",
        "Would you knock something off for cash? / We can discuss the price when you come.",
    ],
    "finance": [
        "Can I pay by the month? / Yes, over thirty-six or sixty months.",
        "What interest rate do you offer on the loan? / It depends on the deposit.",
        "How large a deposit do I need? / Twenty per cent is usual with our lender.",
        "Is leasing possible on this one? / We have a leasing plan with insurance in it.",
        "Will the bank check my credit? / Yes, the finance company does that in a minute.",
    ],
    "mileage and condition": [
        "How many kilometres has it done? / A bit over ninety thousand.",
        "Is there any rust underneath? / None, it was treated last autumn.",
        "Has it been in an accident? / No, only a scratch on the rear bumper.",
        "When was the timing belt changed? / At the last service, the receipt is here.",
        "Are the tyres worn? / There are five millimetres left on all four.",
    ],
    "delivery": [
        "Can you deliver it to my door? / Yes, within a hundred kilometres at no charge.",
        "How long would delivery take? / About ten working days.",
        "Could the car be shipped to Gotland? / We can send it with the ferry.",
        "What does transport cost? / Around three thousand by lorry.",
        "Can I fetch it on Saturday instead? / We hand over cars until four.",
    ],
    "test drive": [
        "May I take it for a test drive? / Of course, bring your driving licence.",
        "Is it free to try on Thursday evening? / Thursday at six suits us.",
        "Can I drive it on the motorway? / Yes, plan for half an hour.",
        "Could my wife try driving it as well? / Both of you may drive.",
        "Do I need to book the test drive? / I will put your name down now.",
    ],
    "part exchange": [
        "Would you take my old car in exchange? / What make and year is it?",
        "How much would I get for my trade-in? / We value it when we see it.",
        "I still owe money on my old one. / We can settle that loan in the exchange.",
        "My car failed its inspection, do you still take it? / We do, at a lower value.",
        "Can you value my car over the telephone? / Send the registration number and some pictures.",
    ],
}
PHRASES_TABLE = "create or replace table phrases (topic_no bigint, topic varchar, phrases varchar[])"
# A call for each telephone enquiry (a few seconds after it), and some that nothing announced.
CALLS = """
    create table calls_{block} as
    with announced as (
        select day, event_no + 64 as call_no, item_id as advert_id, true_ms + 5000 as started_ms
        from events where kind = 'enquiry' and detail = 'call'
    ),
    numbered as (
        select day, day * 16777216 + number as call_no, start_ms, adverts_count
        from block
        inner join day_advert_counts using (day), unnest(range(2 + events // 4000)) as numbers(number)
    ),
    organic as (
        select *, pick(call_no, 'called about', adverts_count) as advert_rank from numbered
    ),
    all_calls as (
        select * from announced
        union all
        select day, call_no, advert_id, start_ms + 32400000 + pick(call_no, 'called at', 32400000)
        from organic inner join day_adverts using (day, advert_rank)
    ),
    with_topic as (
        select
            all_calls.*,
            pick(call_no, 'topic', (select count(*) from phrases)) as topic_no,
            -- Who calls, and the end of a number: 070-174 06 05 to 99 are kept for fiction.
            choose(call_no, 'first name', ['Alva', 'Bo', 'Cilla', 'David', 'Elsa', 'Frans', 'Greta', 'Hugo'])
            || choose(call_no, 'last name', [' Exempelsson', ' Provberg', ' Testgren', ' Låtsaslund', ' Påhitt'])
            as name,
            lpad((5 + pick(call_no, 'number', 95))::varchar, 2, '0') as digits
        from all_calls inner join block using (day)
        where started_ms < block.end_ms
    )
    select
        with_topic.day,
        't-' || call_no as call_id,
        advert_id,
        started_ms,
        30 + floor(power(rnd(call_no, 'talk'), 2) * 540)::bigint as duration_seconds,
        choose(call_no, 'line', ['mobile', 'mobile', 'landline', 'callback']) as channel,
        topic,
        choose(call_no, 'greeting', [
            'Good morning, you are through to sales.', 'Hello, this is the showroom.',
                'Hi, how can I help you?'
        ])
        || ' / I am calling about the ' || make_model || '. / Yes, it is still here. / '
        || choose(call_no, 'first phrase', phrases) || ' / '
        || choose(call_no, 'second phrase', phrases)
        || case pick(call_no, 'left', 4)
            when 0 then ' / My name is ' || name || ', call me on 070-174 06 ' || digits || '. / I will.'
            when 1 then ' / Send it to ' || lower(replace(strip_accents(name), ' ', '.')) || '@example.org, please.'
            when 2 then ' / My address is Provgatan ' || digits || ', 123 ' || digits || ' Testby.'
            else ''
        end
        || choose(call_no, 'closing', [
            ' / Thank you, I will think about it.', ' / Good, I will come by.', ' / Thanks, speak soon.'
        ]) as transcript
    from with_topic inner join phrases using (topic_no) inner join adverts using (advert_id)
"""
