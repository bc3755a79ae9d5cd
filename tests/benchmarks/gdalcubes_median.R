# The median of clear pixels by gdalcubes, with writing: a row of building.py, which calls it.
# Rscript gdalcubes_median.R TASK.json; prints the seconds of the second run.

suppressMessages(library(gdalcubes))
task <- jsonlite::fromJSON(commandArgs(trailingOnly = TRUE)[1])
gdalcubes_options(parallel = task$threads)

bands <- c(task$bands, task$quality)
format <- list(
  description = "made scenes",
  tags = list(),
  pattern = ".*\\.tif",
  images = list(pattern = "(.*)_[A-Z0-9]+\\.tif"),
  datetime = list(pattern = ".*_([0-9-]{10})_[A-Z0-9]+\\.tif", format = "%Y-%m-%d"),
  bands = setNames(lapply(bands, function(band) {
    list(pattern = paste0(".*_", band, "\\.tif"),
         nodata = if (band == task$quality) NULL else task$nodata)
  }), bands)
)
definition <- tempfile(fileext = ".json")
writeLines(jsonlite::toJSON(format, auto_unbox = TRUE, null = "null"), definition)
database <- tempfile(fileext = ".db")

run <- function() {
  scenes <- create_image_collection(task$files, definition, database)
  e <- task$extent
  view <- cube_view(
    srs = task$srs,
    extent = list(left = e[1], bottom = e[2], right = e[3], top = e[4],
                  t0 = task$start, t1 = task$end),
    nx = task$side, ny = task$side, dt = "P1D", aggregation = "first", resampling = "near"
  )
  clear <- image_mask(task$quality, values = task$clear, invert = TRUE)
  cube <- raster_cube(scenes, view, mask = clear, chunking = c(task$days, 512, 512))
  medians <- reduce_time(select_bands(cube, task$bands),
                         paste0("median(", task$bands, ")"))
  write_tif(medians, dir = task$out, COG = TRUE, overviews = TRUE,
            pack = list(type = "int16", scale = 1, offset = 0, nodata = task$nodata),
            creation_options = list(COMPRESS = "DEFLATE", PREDICTOR = "2"))
}

seconds <- sapply(1:2, function(number) system.time(run())[["elapsed"]])
cat(seconds[2], "\n")
