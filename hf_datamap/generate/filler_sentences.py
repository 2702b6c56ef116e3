"""Plain sentences that witnesses are filled with: short, without commas, digits or rare words. All ours."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Names of the languages that prompts may ask for. Only those written with Latin letters and spaces between words.
LANGUAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "en": "English", "de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "nl": "Dutch",
        "pt": "Portuguese", "sv": "Swedish", "fi": "Finnish", "pl": "Polish",
    }
)  # fmt: skip

_EN = """
The sun rose over the old house|People talked all day about the plan|She told us what had happened there|Most of them
are still at home|It all started a long time ago|There is a lot to learn from this|The children sat at the table and
listened|He said that the answer is simple|Our friends came along in the afternoon|This is the part that matters
most|All of us need a bit of rest|The teacher has read the letter|Here is the reason for it|Those are the facts in
short|A small idea can lead to more|The road to the station is long|Nobody had seen it before|The ship left on a clear
morning|That night the lights stayed on|One good friend is enough
"""
_DE = """
Die Sonne scheint heute auf das alte Haus|Wir haben lange über den Plan gesprochen|Das ist der wichtigste Teil der
Geschichte|Die Kinder sitzen am Tisch und hören zu|Er sagt dass die Antwort einfach ist|Unsere Freunde kommen am
Nachmittag nach Hause|Am Abend bleibt das Licht noch an|Man kann daraus sehr gut lernen|Der Lehrer hat den Brief
gelesen|Alle brauchen ab und zu eine Pause
"""
_ES = """
El sol sale sobre la casa antigua|Hablamos todo el día sobre el plan|Esta es la parte más importante de la
historia|Los niños están sentados a la mesa|Él dice que la respuesta es sencilla|Nuestros amigos llegan por la tarde a
casa|Por la noche la luz sigue encendida|Se puede aprender mucho de esto|La maestra ha leído la carta|Todos necesitan
un poco de descanso
"""
_FR = """
Le soleil se lève sur la maison ancienne|Nous avons parlé du plan toute la journée|Cette partie de la histoire est la
plus importante|Les enfants sont assis à la table|Il dit que la réponse est simple|Nos amis arrivent à la maison le
soir|Dans la nuit la lumière reste allumée|On peut apprendre beaucoup de cela|Le professeur a lu la lettre ce
matin|Tous ont besoin de repos de temps en temps
"""
_IT = """
Il sole sorge sulla vecchia casa|Abbiamo parlato del piano per tutto il giorno|Questa è la parte più importante della
storia|I bambini sono seduti a tavola|Lui dice che la risposta è semplice|I nostri amici arrivano a casa nel
pomeriggio|Di notte la luce rimane accesa|Si può imparare molto da tutto questo|La maestra ha letto la lettera|Tutti
hanno bisogno di un po' di riposo
"""
_NL = """
De zon komt op boven het oude huis|We hebben de hele dag over het plan gesproken|Dit is het belangrijkste deel van het
verhaal|De kinderen zitten aan de tafel|Hij zegt dat het antwoord eenvoudig is|Onze vrienden komen in de middag naar
huis|In de nacht blijft het licht aan|Men kan hier veel van leren|De leraar heeft de brief gelezen|Alle mensen hebben
soms rust nodig
"""
_PT = """
O sol nasce sobre a casa antiga|Nós falamos sobre o plano durante todo o dia|Esta é a parte mais importante da
história|As crianças estão sentadas à mesa|Ele diz que a resposta é simples|Os nossos amigos chegam a casa à
tarde|Durante a noite a luz não se apaga|Pode aprender muito com isso|A professora leu a carta esta manhã|Todos
precisam de um pouco de descanso
"""
_SV = """
Solen går upp över det gamla huset|Vi har talat om planen hela dagen|Det här är den viktigaste delen av
historien|Barnen sitter vid bordet och lyssnar|Han säger att svaret är enkelt|Våra vänner kommer hem på
eftermiddagen|På natten är ljuset fortfarande på|Man kan lära sig mycket av detta|Läraren har läst brevet|Alla behöver
lite vila ibland
"""
_FI = """
Aurinko nousee vanhan talon takaa|Me puhuimme suunnitelmasta koko illan|Tämä on tarinan tärkein osa|Lapset istuvat
hiljaa saman pöydän ääressä|Hän sanoo että vastaus on selvä|Meidän ystävät tulevat iltapäivällä kotiin|Illalla valot
ovat edelleen päällä|Tästä voi oppia todella paljon|Opettaja on lukenut koko kirjeen|Kaikki tarvitsevat joskus lepoa
"""
_PL = """
Nad starym domem wschodzi dzisiaj słońce|Przez cały dzień mówiliśmy o tym planie|To jest najważniejsza część tej
historii|Dzieci siedzą przy stole i słuchają|On mówi że odpowiedź jest prosta|Nasi przyjaciele przychodzą po południu
do domu|W nocy światło nadal się pali|Można się z tego bardzo dużo nauczyć|Nauczyciel przeczytał dzisiaj ten
list|Wszyscy potrzebują czasem odpoczynku
"""

#: Sentences without their full stop, by language.
PROSE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        code: tuple(" ".join(text.split()) for text in block.split("|"))
        for code, block in {
            "en": _EN, "de": _DE, "es": _ES, "fr": _FR, "it": _IT, "nl": _NL, "pt": _PT, "sv": _SV, "fi": _FI,
            "pl": _PL,
        }.items()
    }
)  # fmt: skip

#: A common word with each letter that a count may be asked of.
LETTER_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "b": "bubble", "c": "circle", "f": "fluffy", "g": "giggle", "h": "hush", "j": "jojo", "k": "kick",
        "m": "mammoth",
        "p": "poppy", "q": "quiet", "v": "vivid", "w": "window", "x": "xerox", "y": "yearly", "z": "puzzle",
    }
)  # fmt: skip
