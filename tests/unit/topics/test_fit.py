"""Topics of made texts, of which it is known what they are about."""

import random
from collections import Counter

import numpy as np
import pytest

from flows.errors import TidemarkError
from flows.topics.delivered import name_of
from flows.topics.fit import Topics, choices, fit_topics, match
from flows.topics.vectors import LEAST_TEXTS, Vectors, Words, count_words

ABOUT = {
    "price": "price discount cheaper offer bargain lower reduce amount",
    "delivery": "deliver transport ship lorry ferry freight arrive parcel",
    "loan": "loan bank interest deposit credit monthly lender rate",
}
EVERYBODY = "hello the car is here thanks and goodbye"


def texts_of(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of a few words about one thing each, between words that all of them have; and what each is about."""
    chance = random.Random(seed)
    about = [chance.choice([*ABOUT]) for _ in range(count)]
    texts = [
        " ".join([*EVERYBODY.split(), *chance.choices(ABOUT[one].split(), k=5), f"<NAME> only{number}x"])
        for number, one in enumerate(about)
    ]
    return texts, about


def words_of(texts: list[str]) -> Words:
    return Words.fit(count_words(texts))


def fitted(texts: list[str], count: int = 3) -> tuple[Topics, Vectors]:
    counted = count_words(texts)
    vectors = Words.fit(counted).embed(texts)
    return fit_topics(counted, vectors, count), vectors


def test_what_texts_are_about_is_found_and_told_by_its_words() -> None:
    texts, about = texts_of(300)
    topics, vectors = fitted(texts)
    weights = topics.weights(vectors)
    nearest = weights.argmax(axis=1)
    for topic in range(3):
        ((most, count),) = Counter(one for one, own in zip(about, nearest, strict=True) if own == topic).most_common(1)
        assert count == np.count_nonzero(nearest == topic) == topics.texts_counts[topic]
        assert {*topics.keywords[topic]} <= {*ABOUT[most].split()} and len(topics.keywords[topic]) >= 5
    assert sum(topics.texts_counts) == 300
    assert min(topics.stability) > 0.95
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-5) and weights.min() >= 0


def test_the_same_texts_give_the_same_topics() -> None:
    texts, _ = texts_of(200)
    one, other = fitted(texts)[0], fitted(texts)[0]
    assert (one.directions == other.directions).all()
    assert (one.sharpness, one.keywords, one.stability) == (other.sharpness, other.keywords, other.stability)


def test_a_word_of_few_texts_is_nowhere() -> None:
    """It may be a name that nobody took out."""
    texts, _ = texts_of(200)
    rare = [f"{text} sundberg" if n < LEAST_TEXTS - 1 else text for n, text in enumerate(texts)]
    often = [f"{text} sundberg" if n < LEAST_TEXTS else text for n, text in enumerate(texts)]
    assert "sundberg" not in words_of(rare).words
    assert "sundberg" in words_of(often).words
    assert not any("sundberg" in words for words in fitted(rare)[0].keywords)
    assert not any(word.startswith("only") or word == "name" for word in words_of(often).words)


def test_a_text_that_says_nothing_known_is_of_no_topic() -> None:
    texts, _ = texts_of(200)
    topics, _ = fitted(texts)
    assert (topics.weights(words_of(texts).embed(["", "zzz qqq", "<PHONE>"])) == 0).all()


def test_where_texts_do_not_differ_topics_are_not_stable() -> None:
    chance = random.Random(1)
    words = " ".join(ABOUT.values()).split()
    texts = [" ".join(chance.sample(words, 6)) for _ in range(400)]
    assert np.mean(fitted(texts)[0].stability) < 0.6


def test_a_text_about_two_things_is_less_likely_of_either() -> None:
    texts, _ = texts_of(300)
    topics, vectors = fitted(texts)
    both = words_of(texts).embed([f"{ABOUT['price']} {ABOUT['loan']}"])
    assert topics.weights(both).max() < 0.7 < topics.weights(vectors).max(axis=1).min()


def test_too_few_texts_say_how_many_are_needed() -> None:
    texts, _ = texts_of(150)
    with pytest.raises(TidemarkError, match="150 texts say something; 20 topics need 200"):
        fitted(texts, 20)
    with pytest.raises(TidemarkError, match=r"no word occurs in 10 texts or more .*more texts are needed"):
        fitted(texts[:20])


def test_texts_that_share_no_word_say_so() -> None:
    with pytest.raises(TidemarkError, match="no word occurs in 10 texts or more"):
        count_words([f"word{chr(97 + n)}" for n in range(20)])


def test_the_right_number_is_the_one_on_which_fits_agree() -> None:
    texts, _ = texts_of(300)
    found = choices(words_of(texts).embed(texts), range(2, 7))
    assert [one.topics_count for one in found] == [2, 3, 4, 5, 6]
    best = max(found, key=lambda one: (one.agreement, one.separation))
    assert best.topics_count == 3 and best.agreement == pytest.approx(1)
    assert all(0 <= one.smallest <= 1 / one.topics_count for one in found)
    assert [one.topics_count for one in choices(words_of(texts).embed(texts)[:45], range(2, 7))] == [2, 3, 4]


def test_topics_are_matched_one_to_one_and_only_where_they_are_alike() -> None:
    old = np.eye(4, dtype=np.float32)[:3]
    new = np.array([[0, 1, 0, 0], [0.9, 0.4, 0, 0], [0, 0, 0, 1]], dtype=np.float32)
    assert match(old, new, alike=0.75) == [1, 0, None]
    assert match(old, old[[2, 0, 1]], alike=0.75) == [2, 0, 1]
    assert match(old, np.vstack([old, old[:1]]), alike=0.75).count(None) == 1


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        (["price", "off", "for", "would", "complete"], "price, would, complete"),
        (["off", "for", "would", "us"], "off, for, would"),
        (["off"], "off"),
        ([], "no words"),
    ],
)
def test_a_topic_is_called_by_its_longer_words_where_there_are_enough(keywords: list[str], name: str) -> None:
    assert name_of(keywords) == name
