"""Command lines that are refused: the text of a.csv, the arguments, the whole message."""

from __future__ import annotations

__all__ = ["BAD_COMMANDS"]

LABELS = "wave,t,x,label\na,1,1,p\na,2,2,p\nb,1,3,q\nb,2,4,q\n"
TRAIN = ("train", "a.csv", "--id", "wave", "--target", "label", "--out", "m")
PREDICT = ("predict", "model", "a.csv")
FORECAST = ("forecast", "a.csv", "--target", "x", "--horizon")


BAD_COMMANDS: list[tuple[str, tuple[str, ...], str]] = [
    (LABELS, ("train",), "the following arguments are required: DATA.csv, --id, --target, --out"),
    (LABELS, ("train", "b.csv", *TRAIN[2:]), "b.csv: No such file or directory"),
    (LABELS, ("train", ".", *TRAIN[2:]), ".: Is a directory"),
    ("", TRAIN, "a.csv: is empty; expected a header and rows"),
    ("wave,label\n", TRAIN, "a.csv: has a header and no row"),
    ("wave,x,x,label\na,1,2,3\n", TRAIN, "a.csv, line 1: two columns have the name 'x', numbers 2 and 3"),
    ("wave,x,label\na,1,2\na,1\n", TRAIN, "a.csv, line 3: has 2 cells, the header has 3 cells"),
    (LABELS, (*TRAIN, "--time", "tt"), "a.csv: no column 'tt'; did you mean 't'?"),
    (LABELS, (*TRAIN, "--features", "x,z"), "a.csv: no column 'z'; there are 'wave', 't', 'x', 'label'"),
    (LABELS, (*TRAIN, "--features", "x,x"), "argument --features: must be different names with commas, got 'x,x'"),
    (LABELS, (*TRAIN, "--features", "label"), "--features: 'label' is the target column"),
    (LABELS, (*TRAIN, "--features", "wave"), "--features: 'wave' is the id column"),
    (LABELS, (*TRAIN, "--time", "wave"), "--id, --time and --target must be different columns"),
    (LABELS, (*TRAIN, "--features", "x", "--categorical", "t"), "--categorical: 't' is not among the features"),
    ("wave,label\na,1\nb,2\n", TRAIN, "a.csv: no column is left to be a feature"),
    (LABELS, TRAIN, "a.csv: nothing can be held out of 2 ids with a class each; give --holdout 0"),
    ("wave,x,label\na,1,1.5\na,1,2\n", TRAIN, "a.csv: nothing can be held out of 1 id; give --holdout 0"),
    ("wave,t,x,label\na,1,1,p\na,1,2,p\nb,1,3,q\n", (*TRAIN, "--time", "t"), "a.csv, line 3, column 't': the time '1' of id 'a' is that of line 2 already"),
    ("wave,x,label\na,1,p\na,2,q\nb,3,q\n", (*TRAIN, "--per", "id"), "a.csv, line 3, column 'label': id 'a' has 'q' here and 'p' in line 2, but there is one target per id"),
    ("wave,x,label\na,1,p\na,oops,p\nb,3,q\n", (*TRAIN, "--holdout", "0"), "a.csv, line 3, column 'x': 'oops' is no number, and 2 other cells of this column hold numbers; mend it, or say that the column is categorical"),
    ("wave,x,label\na,1,p\na,inf,p\nb,3,q\n", (*TRAIN, "--holdout", "0"), "a.csv, line 3, column 'x': 'inf' is not finite"),
    (LABELS, (*TRAIN, "--task", "regression"), "a.csv, line 2, column 'label': 'p' is no number"),
    (LABELS, (*TRAIN, "--encoding", "utf-99"), "a.csv: unknown encoding 'utf-99'"),
    (LABELS, (*TRAIN, "--delimiter", ", "), "argument --delimiter: must be one character or tab, got ', '"),
    (LABELS, (*TRAIN, "--holdout", "1"), "argument --holdout: must be a number of at least 0 and below 1, got '1'"),
    (LABELS, (*TRAIN, "--lr", "0"), "argument --lr: must be a number above 0, got '0'"),
    (LABELS, (*TRAIN, "--hidden", "0"), "argument --hidden: must be a whole number from 1 to 65536, got '0'"),
    (LABELS, (*TRAIN, "--validation", "0", "--patience", "3"), "--patience: needs ids that choose the epoch, and --validation is 0"),
    (LABELS, (*TRAIN, "--seed", "-1"), "argument --seed: must be a whole number below 2**31, got '-1'"),
    (LABELS, (*TRAIN, "--holdout", "0", "--hidden", "65536", "--layers", "64"), "the layer would have about 1e12 parameters or more: input_size 2, hidden_size 65536, num_layers 64"),
    (LABELS, (*TRAIN[:-1], "a.csv"), "--out a.csv: is what is read as well"),
    (LABELS, (*TRAIN, "--metrics", "m"), "--metrics m: is --out as well"),
    (LABELS, (*TRAIN[:-1], "-"), "--out -: needs a file, stdout is for text"),
    (LABELS, (*TRAIN, "--report", "-"), "--report -: needs a file, stdout is for text"),
    (LABELS, (*PREDICT, "--metrics", "-"), "--out and --metrics: only one of them can go to stdout"),
    (LABELS, (*FORECAST, "1", "--out", "-", "--metrics", "-"), "--out and --metrics: only one of them can go to stdout"),
    (LABELS, (*TRAIN, "--metrics", "."), "--metrics .: is a folder"),
    (LABELS, ("predict", "m", "a.csv"), "m: No such file or directory"),
    (LABELS, ("inspect", "a.csv"), "a.csv is not an intact gru model file: *"),
    (LABELS, PREDICT, "a.csv: no column 'y'; there are 'wave', 't', 'x', 'label'"),
    ("wave,t,y,site\na,1,1,s\n", PREDICT, "a.csv: no column 'x'; there are 'wave', 't', 'y', 'site'"),
    ("t,x,y,site\na,1,1,s\n", PREDICT, "a.csv: no column 'wave'; there are 't', 'x', 'y', 'site'"),
    ("wave,t,x,y,site\na,1,low,1,s\n", PREDICT, "a.csv, line 2, column 'x': 'low' is no number"),
    ("wave,t,x,y,site,label\na,1,1,1,s,odd\n", (*PREDICT, "--metrics", "s"), "a.csv, line 2, column 'label': 'odd' is no class of the model: 'fast', 'slow'"),
    ("wave,t,x,y,site\na,1,1,1,s\n", (*PREDICT, "--metrics", "m"), "--metrics: a.csv has no column 'label'"),
    (LABELS, ("predict", "plain", "a.csv"), "plain: holds no columns and no scaling, so it was not made by gru train"),
    (LABELS, ("predict", "other", "a.csv"), "other: its columns do not fit its layers"),
    (LABELS, (*FORECAST, "2", "--window", "4"), "a.csv, column 'x': the longest series has 4 values; to learn from it takes 6, which a forecast sees (4) and the horizon (2)"),
    (LABELS, (*FORECAST, "3"), "a.csv, column 'x': there are 4 values, a forecast sees 16; give a smaller --window or smaller --lags"),
    (LABELS, (*FORECAST, "3", "--id", "wave"), "a.csv, column 'x': id 'a' has 2 values, a forecast sees 16; give a smaller --window or smaller --lags"),
    (LABELS, ("forecast", "a.csv", "--target", "label", "--horizon", "1"), "a.csv, line 2, column 'label': 'p' is no number"),
    ("wave,x\na,1\nb,\n", (*FORECAST, "1", "--id", "wave"), "a.csv, column 'x': id 'b' has no value"),
    (LABELS, (*FORECAST, "1", "--exog", "x"), "--target, --id, --time and --exog: 'x' occurs twice"),
    (LABELS, (*FORECAST, "1", "--lags", "12,0"), "argument --lags: must be a whole number from 1 to 1000000, got '0'"),
    (LABELS, (*FORECAST, "1", "--metrics", "m", "--no-backtest"), "--metrics: holds the backtest, which --no-backtest leaves out"),
]  # fmt: skip
