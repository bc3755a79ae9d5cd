# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Primeiros passos
#
# **Você aprende** a ver o que um índice contém, a carregar um cubo, a olhá-lo em cores e como
# NDVI,
# a saber de que dia é cada pixel, e o que é um cubo vivo.
#
# **O que é preciso:** os cubos de `make demo`.
# As suas cenas foram feitas, não observadas: não tome daqui nenhum número por um da Bahia.

# %%
import matplotlib.pyplot as plt
import numpy as np

from odc_bdc import composite_cube, find_cube
from odc_bdc import notebook as nb

dc = nb.connect()

# %% [markdown]
# ## O que há
#
# Um *produto* é um tipo de imagem: cenas de um satélite, ou um cubo feito delas.
# `CB4_64_16D_STK_v1` lê-se: CBERS-4, pixels de 64 m, períodos de 16 dias, composto por pilha
# (stack),
# versão 1.

# %%
products = dc.list_products()[["name", "description"]].reset_index(drop=True)
products.description = products.description.str.partition(".")[0]
products

# %% [markdown]
# Um *dataset* é uma imagem de um produto: aqui, a de uma célula da grade do BDC em um período.
# O cubo tem **16**: **2** células em **8** períodos.

# %%
datasets = dc.find_datasets(product="CB4_64_16D_STK_v1")
images = nb.datasets_table(datasets)
images[["date", "end", "tile", "function", "kind", "clear_fraction", "cloud_cover"]]

# %% [markdown]
# ## Carregar
#
# `nb.load` é `dc.load` com uma barra de progresso e com uma mensagem clara quando não há nada.
# As células vêm como uma só imagem; o tempo de uma imagem é o meio do seu período.

# %%
cube = nb.load(dc, "CB4_64_16D_STK_v1")
cube

# %% [markdown]
# ## Olhar
#
# Em cores verdadeiras, quatro dos oito períodos: os campos são semeados e ficam verdes.
# Os pixels guardam a reflectância vezes dez mil; `limits` são as reflectâncias que aparecem como
# preto e como brilho máximo.

# %%
figure, axes = plt.subplots(2, 2, figsize=(12, 7), layout="constrained")
for n, axis in zip((0, 2, 3, 5), axes.flat, strict=True):
    cube.bdc.plot_rgb(time=cube.time.values[n], limits=(0, 0.22), ax=axis)
    axis.set_axis_off()

# %% [markdown]
# O cubo guarda também o NDVI, o índice de vegetação: solo nu tem cerca de 0,2, uma lavoura densa
# 0,9.

# %%
figure, axis = plt.subplots(figsize=(10, 5), layout="constrained")
_ = cube.bdc.plot("NDVI", time="2019-12-25", ax=axis, cmap="YlGn", vmin=0, vmax=1, language="pt")
# %% [markdown]
# Na média de todos os pixels, o NDVI sobe de **0,29** no início de novembro para **0,68** em
# janeiro.

# %%
ndvi = cube.bdc.to_reflectance().NDVI
mean_ndvi = ndvi.mean(("y", "x"))

figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.plot(mean_ndvi.time, mean_ndvi, "o-", color="tab:green")
axis.set_ylim(0, 1)
axis.set_ylabel("NDVI médio")
figure.autofmt_xdate()
# %% [markdown]
# ## De onde é um pixel
#
# Uma pilha toma cada pixel de uma cena, a mais limpa que o mostra.
# `PROVENANCE` diz o dia do ano, `CLEAROB` quantas vezes o pixel foi visto limpo no período, e
# `TOTALOB` quantas vezes foi visto.
# No último período, **12 %** dos pixels nunca foram vistos limpos: ali a pilha mostra a melhor
# cena
# que tem, com as nuvens.

# %%
last = cube.isel(time=-1)
never_clear = float((last.CLEAROB == 0).mean())

figure, axes = plt.subplots(1, 3, figsize=(14, 3.2), layout="constrained")
cube.bdc.plot_rgb(time=last.time.values, limits=(0, 0.22), ax=axes[0])
days, number = np.unique(last.PROVENANCE, return_inverse=True)
shown = axes[1].imshow(
    number.reshape(last.PROVENANCE.shape),
    cmap=plt.get_cmap("viridis", len(days)),
    vmin=-0.5,
    vmax=len(days) - 0.5,
)
bar = figure.colorbar(shown, ax=axes[1], shrink=0.7, label="dia do ano", ticks=range(len(days)))
bar.set_ticklabels(days)
shown = axes[2].imshow(last.CLEAROB, cmap="Blues", vmin=0)
figure.colorbar(shown, ax=axes[2], shrink=0.7, label="observações limpas")
for axis, title in zip(axes, ("cores verdadeiras", "PROVENANCE", "CLEAROB"), strict=True):
    axis.set_title(title)
    axis.set_axis_off()

# %% [markdown]
# ## Vivo e construído
#
# As imagens acima foram *construídas*: são arquivos.
# Uma imagem *viva* não tem pixels próprios, só uma receita; é composta quando alguém a lê.
# Isso não custa disco, e fica pronto na hora.
# O comando abaixo declara as medianas de janeiro de 2020; executado outra vez, encontra-as
# declaradas.
# (`--clip` limita à parte das células que tem cenas.)

# %%
home = nb.find_home()
clip = "5970432 9919936 6035968 9952704"
# !odc-bdc cube declare CB4_64_1M_MED_v1 --time 2020-01-01 2020-01-31 --clip {clip} --home {home}

# %%
live = nb.datasets_table(dc.find_datasets(product="CB4_64_1M_MED_v1"))
live[["date", "end", "tile", "function", "kind"]]

# %% [markdown]
# Ela se carrega como qualquer outro produto.
# Para ver que nada se perde, compomos nós mesmos as cenas: **100 %** dos valores são iguais.

# %%
january = nb.load(dc, "CB4_64_1M_MED_v1", time="2020-01", region_code="007004")
scenes = nb.load(dc, "CB4_WFI_L4_SR_1", time="2020-01", region_code="007004", group_by="time")
by_hand = composite_cube(scenes, find_cube("CB4_64_1M_MED_v1"))
equal = [float((january[name].values == by_hand[name].values).mean()) for name in january]
least_equal = min(equal)
print(f"{least_equal:.2%} dos valores da banda que mais difere são iguais")

# %% [markdown]
# Quando uma imagem é lida muitas vezes, `odc-bdc cube build CB4_64_1M_MED_v1` grava-a em arquivos
# e
# põe-na no lugar da viva; quem a usa só nota que ficou mais rápida.
