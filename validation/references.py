"""Whose numbers the rows are compared with: short keys of ``Row.reference`` and what they mean.

A key stands for one publication, patent, public data set or other simulator. The scoreboard counts
the keys of predicted rows as sources. Rows without a key compare this project with itself.
"""

REFERENCES = {
    "Le Gallo 2023": "M. Le Gallo et al., Nature Electronics 6, 680 (2023), "
    "doi:10.1038/s41928-023-01010-1, read as arXiv:2212.02872v1",
    "Khaddam-Aljameh 2022": "R. Khaddam-Aljameh et al., HERMES-Core, IEEE JSSC 57, 1027 (2022), "
    "doi:10.1109/JSSC.2022.3140414",
    "Joshi 2020": "V. Joshi et al., Nature Communications 11, 2473 (2020), "
    "doi:10.1038/s41467-020-16108-9; its points and traces as figures of the AIHWKit documentation",
    "Nandakumar 2018": "S. R. Nandakumar et al., J. Appl. Phys. (2018), read as implemented in "
    "YigitDemirag/srnn-pcm at 2d917836",
    "Nandakumar 2020": "S. R. Nandakumar et al., Frontiers in Neuroscience 14, 406 (2020), "
    "doi:10.3389/fnins.2020.00406, abstract, and arXiv:1712.01192, abstract",
    "Petropoulos 2020": "A. Petropoulos et al., ISCAS 2020, arXiv:2004.03073, abstract",
    "Dazzi 2021": "M. Dazzi et al., IEEE Trans. Computers 70, 922 (2021), "
    "doi:10.1109/TC.2021.3073255, and arXiv:1906.03474, abstracts",
    "US 10,831,691": "patent US 10,831,691 B1 (filed 2019), abstract and claim 1",
    "AIHWKit": "IBM/aihwkit, code at 4545f11 and version 1.2.0 as run",
    "CrossSim": "sandialabs/cross-sim 3.2.0 at 0a2eb1e, as run",
    "Buechel 2025": "Buechel et al., arXiv:2505.09663, and IBM/analog-foundation-models "
    "at 4f4c505: polynomials of the chip's weight error",
    "Singh 2025": "The design of analogue in-memory computing tiles, "
    "Nature Electronics 8, 1156 (2025)",
    "Benmeziane 2023": "Benmeziane et al., AnalogNAS, IEEE EDGE 2023",
    "Zarcone 2020": "R. V. Zarcone et al., Scientific Reports (2020), "
    "doi:10.1038/s41598-020-63723-z; measured PCM of rzarcone/PCM_Paper",
    "Levy": "Levy et al.; measured RRAM of akashlevy/RRAM-Relaxation-Master-Model (MIT)",
    "Rasch 2024": "M. J. Rasch et al., Nature Communications 15, 7133 (2024), "
    "doi:10.1038/s41467-024-51221-z; its claims at second hand",
    "Gong 2018": "Gong et al., Nature Communications (2018), "
    "doi:10.1038/s41467-018-04485-1; pulse responses of the "
    "examples of IBM/aihwkit",
    "ESSOP": "V. Joshi et al., ESSOP, ISCAS 2020, arXiv:2003.11256, abstract",
    "GRAPES": "G. Dellaferrera et al., Nature Communications 13, 1885 (2022), arXiv:2104.11604, "
    "abstract",
    "Wozniak 2020": "S. Wozniak et al., Nature Machine Intelligence 2, 325 (2020), "
    "arXiv:1812.07040, figures in the notebooks of IBM/neuroaikit (953a408b)",
}
