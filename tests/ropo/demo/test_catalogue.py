from ropo.demo.catalogue import LANGUAGES, PRODUCTS
from ropo.demo.forms import PRODUCT


def test_every_product_is_described_in_every_language():
    for product in PRODUCTS:
        for texts in (product.kind, product.claim, product.about, product.strengths, product.figures):
            assert set(texts) == set(LANGUAGES)
            assert all(texts.values())
        assert len(product.figures["de"]) == len(product.figures["en"])


def test_the_contact_form_offers_every_product():
    for language in LANGUAGES:
        assert PRODUCT.choices[language][1:] == tuple(product.name for product in PRODUCTS)
