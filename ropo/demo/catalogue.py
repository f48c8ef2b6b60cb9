"""What Musterwerk Maschinenbau sells, in German and English. Knows nothing of pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["de", "en"]
LANGUAGES: tuple[Language, ...] = ("de", "en")

Text = dict[Language, str]


@dataclass(frozen=True)
class Product:
    """One machine. `slug` names its page and data sheet, `figures` are the rows of its table of technical data."""

    slug: str
    name: str
    kind: Text
    claim: Text
    about: Text
    strengths: dict[Language, tuple[str, ...]]
    figures: dict[Language, tuple[tuple[str, str], ...]]


PRODUCTS: tuple[Product, ...] = (
    Product(
        slug="mw-press-160",
        name="MW-Press 160",
        kind={"de": "Abkantpresse", "en": "Press brake"},
        claim={
            "de": "Biegt auf ein Zehntel Grad genau, vom ersten Teil an.",
            "en": "Bends to a tenth of a degree, from the first part on.",
        },
        about={
            "de": "Die servo-elektrische Abkantpresse für Losgröße 1 bis 500. Die Winkelmessung sitzt im Werkzeug und "
            "regelt jeden Hub nach: Probestücke entfallen, Ausschuss auch.",
            "en": "The servo-electric press brake for batches of 1 to 500. The angle is measured in the tool and every "
            "stroke is corrected: no trial pieces, no scrap.",
        },
        strengths={
            "de": ("Winkelmessung im Werkzeug", "Werkzeugwechsel in 90 Sekunden", "55 % weniger Strom als hydraulisch"),
            "en": ("Angle measured in the tool", "Tool change in 90 seconds", "55 % less power than hydraulic"),
        },
        figures={
            "de": (
                ("Presskraft", "1.600 kN"),
                ("Abkantlänge", "3.100 mm"),
                ("Hub", "300 mm"),
                ("Biegegenauigkeit", "± 0,1°"),
                ("Anschlussleistung", "18 kW"),
                ("Gewicht", "11,8 t"),
            ),
            "en": (
                ("Press force", "1,600 kN"),
                ("Bending length", "3,100 mm"),
                ("Stroke", "300 mm"),
                ("Bending accuracy", "± 0.1°"),
                ("Connected load", "18 kW"),
                ("Weight", "11.8 t"),
            ),
        },
    ),
    Product(
        slug="mw-laser-3015",
        name="MW-Laser 3015",
        kind={"de": "Faserlaser-Schneidanlage", "en": "Fibre laser cutting system"},
        claim={
            "de": "Schneidet 25 mm Baustahl und schiebt die Palette selbst nach.",
            "en": "Cuts 25 mm mild steel and changes its own pallets.",
        },
        about={
            "de": "6 kW Faserlaser mit automatischem Palettenwechsler. Der Schneidkopf erkennt Materialart und Dicke "
            "und stellt Fokus, Gas und Vorschub selbst ein.",
            "en": "A 6 kW fibre laser with an automatic pallet changer. The cutting head recognises material and "
            "thickness, and sets focus, gas and feed by itself.",
        },
        strengths={
            "de": ("Palettenwechsel in 28 Sekunden", "Düsenwechsler mit 16 Plätzen", "Mannlos durch die Nachtschicht"),
            "en": (
                "Pallet change in 28 seconds",
                "Nozzle changer with 16 places",
                "Unattended through the night shift",
            ),
        },
        figures={
            "de": (
                ("Laserleistung", "6 kW"),
                ("Arbeitsbereich", "3.000 × 1.500 mm"),
                ("Baustahl bis", "25 mm"),
                ("Edelstahl bis", "20 mm"),
                ("Positioniergenauigkeit", "± 0,03 mm"),
                ("Gewicht", "14,2 t"),
            ),
            "en": (
                ("Laser power", "6 kW"),
                ("Working range", "3,000 × 1,500 mm"),
                ("Mild steel up to", "25 mm"),
                ("Stainless steel up to", "20 mm"),
                ("Positioning accuracy", "± 0.03 mm"),
                ("Weight", "14.2 t"),
            ),
        },
    ),
    Product(
        slug="mw-finish-900",
        name="MW-Finish 900",
        kind={"de": "Entgrat- und Schleifmaschine", "en": "Deburring and grinding machine"},
        claim={
            "de": "Entgratet, verrundet und schleift in einem Durchlauf.",
            "en": "Deburrs, rounds and grinds in one pass.",
        },
        about={
            "de": "Für Laser- und Stanzteile von 0,5 bis 100 mm Dicke. Zwei gegenläufige Aggregate runden Innen- und "
            "Außenkanten gleichmäßig, auch bei kleinen Teilen auf dem Vakuumtisch.",
            "en": "For laser-cut and punched parts from 0.5 to 100 mm. Two counter-rotating units round inner and outer "
            "edges evenly, small parts on the vacuum table included.",
        },
        strengths={
            "de": ("Kantenradius bis 2 mm", "Vakuumtisch für Teile ab 50 × 50 mm", "Nassabscheider bereits eingebaut"),
            "en": ("Edge radius up to 2 mm", "Vacuum table for parts from 50 × 50 mm", "Wet separator built in"),
        },
        figures={
            "de": (
                ("Arbeitsbreite", "900 mm"),
                ("Werkstückdicke", "0,5 bis 100 mm"),
                ("Vorschub", "0,5 bis 8 m/min"),
                ("Kantenradius", "bis 2 mm"),
                ("Anschlussleistung", "22 kW"),
                ("Gewicht", "2,9 t"),
            ),
            "en": (
                ("Working width", "900 mm"),
                ("Workpiece thickness", "0.5 to 100 mm"),
                ("Feed", "0.5 to 8 m/min"),
                ("Edge radius", "up to 2 mm"),
                ("Connected load", "22 kW"),
                ("Weight", "2.9 t"),
            ),
        },
    ),
)

BY_SLUG = {product.slug: product for product in PRODUCTS}
