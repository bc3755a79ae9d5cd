# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Componha você mesmo
#
# **Você aprende** como várias cenas de um período se tornam uma imagem: pela média, pela mediana e
# pela pilha (stack), que toma primeiro a cena mais limpa; e como se define um cubo próprio.
#
# **O que é preciso:** para a primeira parte nada; para o resto os cubos de `make demo`.
# As suas cenas foram feitas, não observadas.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from odc_bdc import CubeSpec, QualityPolicy, composite, composite_cube, find_cube
from odc_bdc import notebook as nb

# %% [markdown]
# ## Um pixel, à mão
#
# O exemplo é o dos slides do próprio Brazil Data Cube: seis cenas de um mês.
# Cada uma tem uma fração de pixels limpos, e o nosso pixel está limpo em três delas.
# Fazemos uma imagem minúscula, de dez pixels, que tem exatamente essas frações; o pixel que
# olhamos é
# o primeiro.

# %%
days = [3, 8, 13, 18, 23, 28]
shares = [0.5, 0.7, 0.6, 1.0, 0.8, 0.1]
values = [480, 2900, 510, 3150, 3100, 495]
clear_here = [False, True, False, True, True, False]

CLEAR, CLOUD = 127, 255
red = np.full((6, 1, 10), 1000, "int16")
cmask = np.full((6, 1, 10), CLOUD, "uint8")
for scene in range(6):
    red[scene, 0, 0] = values[scene]
    cmask[scene, 0, 0] = CLEAR if clear_here[scene] else CLOUD
    still_to_be_clear = round(shares[scene] * 10) - clear_here[scene]
    cmask[scene, 0, 1 : 1 + still_to_be_clear] = CLEAR

(cmask == CLEAR).mean(axis=(1, 2))

# %% [markdown]
# À mão: a média e a mediana são as dos três valores limpos.
# A pilha põe as cenas em ordem, primeiro a que tem a maior fração de pixels limpos, e toma o
# primeiro
# valor que está limpo.

# %%
clear_values = red[:, 0, 0][cmask[:, 0, 0] == CLEAR]
order = np.argsort(shares)[::-1]
by_hand = {
    "AVG": clear_values.mean(),
    "MED": np.median(clear_values),
    "STK": next(red[s, 0, 0] for s in order if cmask[s, 0, 0] == CLEAR),
}
print("valores limpos", clear_values, "cenas em ordem: dias", [days[s] for s in order])
by_hand

# %% [markdown]
# `composite` faz isso para imagens inteiras.
# Precisa saber que códigos da banda de qualidade são limpos; o tempo e o valor sem dados encontra
# nos
# próprios dados.

# %%
times = np.array([f"2019-01-{day:02}" for day in days], "datetime64[ns]")
scenes = xr.Dataset(
    {
        "red": (("time", "y", "x"), red, {"nodata": -9999}),
        "CMASK": (("time", "y", "x"), cmask, {"nodata": 0}),
    },
    coords={"time": times},
)
quality = QualityPolicy("CMASK", clear=(CLEAR,), not_clear=(CLOUD,), nodata=0)
pixel = {
    function: composite(scenes, function=function, quality=quality).red.values[0, 0, 0]
    for function in ("AVG", "MED", "STK")
}
pixel

# %% [markdown]
# A média é **3050**, a mediana **3100**, e a pilha dá **3150**, o valor do dia 18, cuja cena está
# toda limpa.
# A pilha diz também de que dia do ano é cada pixel.

# %%
stack = composite(scenes, function="STK", quality=quality)
provenance = int(stack.PROVENANCE[0, 0, 0])
print("dia do ano", provenance, "- observações limpas", int(stack.CLEAROB[0, 0, 0]))

# %% [markdown]
# ## Cenas do índice
#
# Agora as cenas do demo, nos dezesseis dias a partir de 18 de fevereiro de 2020.
# A ordem de uma pilha depende da célula inteira, e por isso carregamos só uma célula, nos seus
# próprios pixels.

# %%
dc = nb.connect()
built = dc.load(
    product="CB4_64_16D_STK_v1", region_code="007004", time=("2020-02-18", "2020-03-04")
)
scenes = dc.load(
    product="CB4_WFI_L4_SR_1",
    region_code="007004",
    time=("2020-02-18", "2020-03-04"),
    group_by="time",
)
{name: scenes[name].dtype.name for name in scenes}, scenes.sizes["time"]


# %%
def rgb(ds, n=0):
    """Azul, verde e vermelho como figura; o brilho máximo é uma reflectância de 0,22."""
    bands = [ds[name].isel(time=n).values for name in ("BAND15", "BAND14", "BAND13")]
    return np.clip(np.stack(bands, axis=-1) / 2200, 0, 1)


n_scenes = scenes.sizes["time"]
figure, axes = plt.subplots(2, (n_scenes + 1) // 2, figsize=(10, 5.4), layout="constrained")
for axis in axes.flat:
    axis.axis("off")
for n, axis in zip(range(n_scenes), axes.flat, strict=False):
    part = float((scenes.CMASK.isel(time=n) == CLEAR).mean())
    axis.imshow(rgb(scenes, n))
    axis.set_title(f"{scenes.time.dt.strftime('%d %b %Y').values[n]}: {part:.0%} limpo")

# %% [markdown]
# `composite_cube` compõe cenas segundo a definição de um cubo: que códigos são limpos, que função,
# que períodos, e que índices calcular.
# Os três cubos só diferem na função.

# %%
made = {
    name: composite_cube(scenes, find_cube(f"CB4_64_16D_{name}_v1"))
    for name in ("AVG", "MED", "STK")
}
figure, axes = plt.subplots(1, 4, figsize=(14, 3.8), layout="constrained")
for axis, (name, image) in zip(axes, made.items(), strict=False):
    axis.imshow(rgb(image))
    axis.set_title({"AVG": "média", "MED": "mediana", "STK": "pilha"}[name])
    axis.axis("off")
taken = made["STK"].PROVENANCE[0].values
taken_days = np.unique(taken)
colours = plt.get_cmap("viridis", len(taken_days))
picked = axes[-1].imshow(np.searchsorted(taken_days, taken), cmap=colours)
axes[-1].set_title("dia do ano que a pilha tomou")
axes[-1].axis("off")
bar = figure.colorbar(picked, ax=axes[-1], shrink=0.8, ticks=range(len(taken_days)))
bar.mappable.set_clim(-0.5, len(taken_days) - 0.5)
_ = bar.set_ticklabels(taken_days)
# %% [markdown]
# A imagem que `make demo` construiu das mesmas cenas tem os mesmos pixels, todos, em cada banda:
# **100 %**.

# %%
equal = np.mean([(made["STK"][name].values == built[name].values).mean() for name in built])
print(f"{equal:.2%} dos valores de {len(built)} bandas são iguais")

# %% [markdown]
# ## O mesmo ao carregar: um produto virtual
#
# Uma receita de `datacube.virtual` compõe as cenas no momento em que são carregadas.
# (O datacube abandona os produtos virtuais na versão 2.0; um cubo vivo, `odc-bdc cube declare`,
# faz o
# mesmo e fica.)

# %%
warnings.filterwarnings("ignore", message="Virtual products are deprecated")
from datacube.virtual import construct_from_yaml

median = construct_from_yaml("""
    aggregate: odc_bdc.virtual.Composite
    group_by: odc_bdc.virtual.p16d
    function: MED
    quality: {band: CMASK, clear: [127], not_clear: [255], nodata: 0}
    input:
      product: CB4_WFI_L4_SR_1
      measurements: [BAND13, BAND14, BAND15, BAND16, CMASK]
      group_by: time
""")
virtual = median.load(dc, region_code="007004", time=("2020-02-18", "2020-03-04"))
same_as_made = bool((virtual.BAND16.values == made["MED"].BAND16.values).all())
print("o infravermelho próximo é o de `composite_cube`:", same_as_made)

# %% [markdown]
# ## Um cubo próprio
#
# Um cubo são poucas linhas: as cenas, a grade, os períodos, a função, as bandas.
# Este toma, em cada mês, o dia em que o pixel estava mais verde, e guarda o NDVI.

# %%
greenest = CubeSpec.from_dict(
    {
        "name": "MY_64_1M_GREEN_v1",
        "title": {"en": "CBERS-4 WFI 64 m, monthly, the greenest day"},
        "description": {"en": "Each pixel is its observation of the highest NDVI in the month."},
        "license": "CC-BY-4.0",
        "sources": [{"product": "CB4_WFI_L4_SR_1"}],
        "grid": "BDC_LG_V2",
        "resolution": 64,
        "timeline": {"schema": "Continuous", "step": 1, "unit": "month"},
        "function": "MAXNDVI",
        "quality": {"band": "CMASK", "clear": [127], "not_clear": [255], "nodata": 0},
        "measurements": ["BAND13", "BAND14", "BAND15", "BAND16", "CMASK"],
        "outputs": {"indices": ["NDVI"]},
    },
    where="this notebook",
)
month = dc.load(
    product="CB4_WFI_L4_SR_1",
    region_code="007004",
    time=("2020-01-01", "2020-01-31"),
    group_by="time",
)
green = composite_cube(month, greenest)
ndvi = green.NDVI[0].where(green.NDVI[0] != -9999) / 10000

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
axes[0].imshow(rgb(green))
axes[0].set_title("Janeiro de 2020, o dia mais verde")
shown = axes[1].imshow(ndvi, cmap="YlGn", vmin=0, vmax=1)
axes[1].set_title("NDVI")
for axis in axes:
    axis.axis("off")
_ = figure.colorbar(shown, ax=axes[1])
# %% [markdown]
# O seu NDVI não fica em lugar nenhum abaixo do da pilha mensal, que tomou o dia mais limpo: em
# média
# **0,70** contra **0,68**.

# %%
stacked = dc.load(
    product="CB4_64_1M_STK_v1",
    region_code="007004",
    time="2020-01",
    measurements=["NDVI", "CLEAROB"],
)
both = (stacked.CLEAROB[0].values > 0) & (green.NDVI[0].values != -9999)
ours, theirs = green.NDVI[0].values[both] / 10000, stacked.NDVI[0].values[both] / 10000
lowest_gain = float((ours - theirs).min())
print(f"média {ours.mean():.2f} contra {theirs.mean():.2f}; a menor diferença é {lowest_gain:.4f}")

# %% [markdown]
# Para tê-lo como produto, salve a definição como arquivo YAML e diga
#
# ```sh
# odc-bdc cube declare my_cube.yaml --time 2019-11-01 2020-02-29
# odc-bdc cube build my_cube.yaml --time 2019-11-01 2020-02-29
# ```
#
# `declare` publica-o na hora, calculado sempre que alguém o lê; `build` grava arquivos.
# A página *Define your own cube* explica todas as chaves.
