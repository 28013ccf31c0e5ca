"""Ask one language identifier for the language of every window, in `.bench-venv`: peers.py NAME WINDOWS ANSWERS.

WINDOWS is a JSON list of texts, ANSWERS what comes out: answers (labels as the tool writes them), known (the labels it
can answer with), seconds (CPU, without loading), peak_mb, installed_mb, version.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

Peer = tuple[Callable[[str], str], list[str]]
UNKNOWN = "und"
CLD3 = (
    "af am ar bg bn bs ca ceb co cs cy da de el en eo es et eu fa fi fil fr fy ga gd gl gu ha haw hi hmn hr ht hu "
    "hy id ig is it iw ja jv ka kk km kn ko ku ky la lb lo lt lv mg mi mk ml mn mr ms mt my ne nl no ny pa pl ps "
    "pt ro ru sd si sk sl sm sn so sq sr st su sv sw ta te tg th tr uk ur uz vi xh yi yo zh zu"
)
WHATLANG = (
    "epo eng rus cmn spa por ita ben fra deu ukr kat ara hin jpn heb yid pol amh jav kor nob dan swe fin tur nld "
    "hun ces ell bul bel mar kan ron slv hrv srp mkd lit lav est tam vie urd tha guj uzb pan aze ind tel pes mal "
    "ori mya nep sin khm tuk aka zul sna afr lat slk cat tgl hye cym"
)
LANGDETECT = (
    "af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne nl no pa pl "
    "pt ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh"
)


def pycld2() -> Peer:
    import pycld2

    detected = set(pycld2.DETECTED_LANGUAGES)

    def ask(text: str) -> str:
        try:
            return pycld2.detect(text, isPlainText=True, bestEffort=True)[2][0][1]
        except pycld2.error:
            # It refuses control characters.
            plain = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)
            return pycld2.detect(plain, isPlainText=True, bestEffort=True)[2][0][1]

    return ask, [code for name, code in pycld2.LANGUAGES if name in detected]


def py3langid() -> Peer:
    import py3langid
    from py3langid import langid

    py3langid.classify("load")
    return (lambda text: py3langid.classify(text)[0]), list(langid._get_identifier().labels)


def cld3() -> Peer:
    import gcld3

    identifier = gcld3.NNetLanguageIdentifier(0, 100_000)
    return (lambda text: identifier.FindLanguage(text).language), CLD3.split()


def whatlang() -> Peer:
    import whatlang as package

    def ask(text: str) -> str:
        try:
            return str(package.detect(text).lang)
        except ValueError:
            return UNKNOWN

    return ask, WHATLANG.split()


def langdetect() -> Peer:
    import langdetect_rs as package

    package.DetectorFactory.seed = 0

    def ask(text: str) -> str:
        try:
            return package.detect(text)
        except package.LangDetectException:
            return UNKNOWN

    return ask, LANGDETECT.split()


def heliport() -> Peer:
    import heliport as package

    identifier = package.Identifier()
    thresholds = Path(package.__file__).parent / "confidenceThresholds"
    return identifier.identify, [line.split("\t")[0] for line in thresholds.read_text().splitlines()]


def lingua() -> Peer:
    from lingua import Language, LanguageDetectorBuilder

    # Its low accuracy mode answers the same here: texts of 120 characters and more are judged by trigrams in both.
    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def ask(text: str) -> str:
        language = detector.detect_language_of(text)
        return language.iso_code_639_3.name.lower() if language else UNKNOWN

    return ask, [language.iso_code_639_3.name.lower() for language in Language.all()]


DISTRIBUTIONS = {
    "pycld2": "pycld2",
    "py3langid": "py3langid",
    "cld3": "cld3-py",
    "whatlang": "whatlang-pyo3",
    "langdetect": "langdetect-rs",
    "heliport": "heliport",
    "lingua": "lingua-language-detector",
}


def peak_mb() -> float:
    # Not ru_maxrss: a child begins with the peak of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main(name: str, windows: Path, out: Path) -> None:
    texts = json.loads(windows.read_text())
    ask, known = globals()[name]()
    for text in texts[:200]:
        ask(text)
    started = time.process_time()
    answers = [ask(text) for text in texts]
    seconds = time.process_time() - started
    distribution = metadata.distribution(DISTRIBUTIONS[name])
    sizes = [Path(distribution.locate_file(file)).stat().st_size for file in distribution.files or ()]
    written = {
        "answers": answers,
        "known": known,
        "seconds": seconds,
        "peak_mb": peak_mb(),
        "installed_mb": sum(sizes) / 1e6,
        "version": distribution.version,
    }
    out.write_text(json.dumps(written))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
