# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Visualizador de células
#
# **Você aprende** a ver em um mapa onde estão as imagens de um índice, em que células da grade do
# BDC, e a ler o que o índice sabe de cada uma.
#
# **O que é preciso:** os cubos de `make demo`.
# As suas cenas foram feitas, não observadas.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from odc_bdc import bdc_grid
from odc_bdc import notebook as nb

dc = nb.connect()

# %% [markdown]
# ## Contornos
#
# A chamada é a do caderno do próprio Brazil Data Cube.
# Os países e as células da grade do cubo são desenhados com arquivos que vêm com odc_bdc: o mapa
# não
# pede nada a nenhum outro servidor.
# Um clique em um contorno diz que imagens há ali.

# %%
datasets = dc.find_datasets(product="CB4_64_16D_STK_v1")
tiles = nb.bdc_plot_datasets(datasets, zoom=4, language="pt")
tiles

# %% [markdown]
# O mapa tem um contorno para cada um dos **16** datasets, uns sobre os outros: oito períodos em
# cada
# uma de duas células.

# %%
(footprints,) = [layer for layer in tiles.layers if layer.name == "Contornos dos datasets"]
n_footprints = len(footprints.data["features"])
print(n_footprints, "contornos")

# %% [markdown]
# ## Como tabela
#
# `clear_fraction` é a fração dos pixels que alguma observação mostra limpos, `cloud_cover` a
# porcentagem dos pixels vistos que nenhuma mostra limpos.

# %%
table = nb.datasets_table(datasets)
table[["date", "end", "tile", "function", "kind", "clear_fraction", "cloud_cover", "satellite"]]

# %% [markdown]
# É uma tabela do pandas, e por isso pode ser consultada: a pior imagem do cubo tem só **77 %** dos
# seus pixels limpos.

# %%
worst = table.loc[table.clear_fraction.idxmin()]
worst[["date", "end", "tile", "clear_fraction"]]

# %% [markdown]
# ## Cenas
#
# As cenas também são datasets: **96**, de 48 dias em duas células.
# De perto, vê-se que cobrem só um canto das células; o demo não faz mais.

# %%
scenes = dc.find_datasets(product="CB4_WFI_L4_SR_1")
nb.bdc_plot_datasets(scenes, zoom=None, grid="BDC_LG_V2", language="pt")

# %%
scene_table = nb.datasets_table(scenes)
figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
for number, (tile, of_tile) in enumerate(scene_table.groupby("tile")):
    days = (of_tile.date - pd.Timestamp("2019-11-01")).dt.days
    axis.bar(days + 0.4 * number, 100 - of_tile.cloud_cover, width=0.4, label=tile)
axis.set_xlabel("dias desde 1 de novembro de 2019")
axis.set_ylabel("limpo, do que foi visto (%)")
_ = axis.legend(title="célula")
# %% [markdown]
# ## A grade
#
# As células são quadrados na projeção de área igual do BDC; as da grade grande têm 422,4 km de
# lado.
# `bdc_grid` conhece todas: que células uma caixa toca, e onde fica uma célula?

# %%
grid = bdc_grid("BDC_LG_V2")
touched = grid.tile_ids((-46, -13, -44, -12), "EPSG:4326")
touched

# %%
geobox = grid.geobox("007004", 64)
side_km = geobox.shape.x * 64 / 1000
print(geobox.shape, f"{side_km:g} km", geobox.extent.to_crs("EPSG:4326").boundingbox)
