"""fastText classifiers of whole documents: how quality and domain train, keep, open and ask theirs.

    options    what a recipe may say about training
    texts      what fastText is fed of a document: windows, and how each is written
    examples   which documents are trained on, which are held out
    labelled   labels of people who read documents, as further examples
    fit        training, and the folder it leaves
    measure    what the held-out documents say: AUC, calibration, confusion, the worst mistakes
    score      a classifier that was opened, asked about documents

Source of the method: Joulin et al. 2016 (arXiv:1607.01759).
"""
