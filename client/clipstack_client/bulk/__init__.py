"""Classification of whole archives: `clipstack bulk`.

A source is listed and sorted once, and cut into parts of some hundred files; a manifest in the results pins this list.
The results of a part are one file, written atomically, whose name depends on the list alone. A journal beside it has
the rows of an unfinished part. So the results themselves say what is left to do, for every engine and after every kill.
"""
