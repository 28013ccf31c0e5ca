"""Language codes in one form, BCP 47 without script and region, for labels of models, sources and names of files.

`eng_Latn`, `eng`, `en-US` and `en` all become `en`: two letters where ISO 639-1 has them, else the three of ISO 639-3.
The predominant member of a macrolanguage takes its code (`cmn` becomes `zh`, `arb` becomes `ar`), as Unicode's CLDR has
it (supplemental metadata, languageAlias), unless the model has a label of its own for the macrolanguage.
"""

from collections.abc import Sequence

UNDETERMINED = "und"


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


TWO_LETTERS = _pairs(
    """
    aar=aa abk=ab afr=af aka=ak amh=am ara=ar arg=an asm=as ava=av ave=ae aym=ay aze=az bak=ba bam=bm bel=be ben=bn
    bis=bi bod=bo bos=bs bre=br bul=bg cat=ca ces=cs cha=ch che=ce chu=cu chv=cv cor=kw cos=co cre=cr cym=cy dan=da
    deu=de div=dv dzo=dz ell=el eng=en epo=eo est=et eus=eu ewe=ee fao=fo fas=fa fij=fj fin=fi fra=fr fry=fy ful=ff
    gla=gd gle=ga glg=gl glv=gv grn=gn guj=gu hat=ht hau=ha hbs=sh heb=he her=hz hin=hi hmo=ho hrv=hr hun=hu hye=hy
    ibo=ig ido=io iii=ii iku=iu ile=ie ina=ia ind=id ipk=ik isl=is ita=it jav=jv jpn=ja kal=kl kan=kn kas=ks kat=ka
    kau=kr kaz=kk khm=km kik=ki kin=rw kir=ky kom=kv kon=kg kor=ko kua=kj kur=ku lao=lo lat=la lav=lv lim=li lin=ln
    lit=lt ltz=lb lub=lu lug=lg mah=mh mal=ml mar=mr mkd=mk mlg=mg mlt=mt mon=mn mri=mi msa=ms mya=my nau=na nav=nv
    nbl=nr nde=nd ndo=ng nep=ne nld=nl nno=nn nob=nb nor=no nya=ny oci=oc oji=oj ori=or orm=om oss=os pan=pa pli=pi
    pol=pl por=pt pus=ps que=qu roh=rm ron=ro run=rn rus=ru sag=sg san=sa sin=si slk=sk slv=sl sme=se smo=sm sna=sn
    snd=sd som=so sot=st spa=es sqi=sq srd=sc srp=sr ssw=ss sun=su swa=sw swe=sv tah=ty tam=ta tat=tt tel=te tgk=tg
    tgl=tl tha=th tir=ti ton=to tsn=tn tso=ts tuk=tk tur=tr twi=tw uig=ug ukr=uk urd=ur uzb=uz ven=ve vie=vi vol=vo
    wln=wa wol=wo xho=xh yid=yi yor=yo zha=za zho=zh zul=zu
    """
)
"""ISO 639-3 (ISO 639-2 for groups) -> ISO 639-1."""

PREDOMINANT = _pairs(
    """
    als=sq arb=ar ayr=ay azj=az cmn=zh cwd=cr ekk=et esk=ik fat=ak fuc=ff gaz=om gug=gn ike=iu khk=mn kmr=ku knc=kr
    kng=kg kpv=kv lvs=lv npi=ne ojg=oj ory=or pbu=ps pes=fa plt=mg quz=qu src=sc swh=sw uzn=uz ydd=yi zsm=ms zyb=za
    """
)
"""Predominant member of a macrolanguage -> the macrolanguage, where that has two letters."""

MACROLANGUAGES = {"nb": "no", "nn": "no"}
"""Language with two letters of its own -> the language it is a written form of, where that has two letters too."""

_FORMER = _pairs(
    """
    fil=tl in=id iw=he ji=yi jw=jv mly=ms mo=ro
    """
)


def codes(labels: Sequence[str]) -> list[str]:
    """Return the code of each label of a model; labels of one language in several scripts share one."""
    plain = [_plain(label) for label in labels]
    own = set(plain)
    return [code if PREDOMINANT.get(code, code) in own else PREDOMINANT.get(code, code) for code in plain]


def _plain(label: str) -> str:
    """Return the language of a label: the first part of `eng_Latn` and `sr-ME`, two letters where there are."""
    language = label.replace("_", "-").split("-")[0].lower()
    language = _FORMER.get(language, language)
    return TWO_LETTERS.get(language, language)
