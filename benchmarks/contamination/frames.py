"""Frames that many texts share, with {} where their own content goes, and texts that everybody quotes."""

FRAMES = (
    "The following are multiple choice questions (with answers) about high school history.\n\n{}\n(A) {}\n(B) {}",
    "Statement 1 | {} Statement 2 | {}\n(A) True, True\n(B) False, False\n(C) True, False\n(D) False, True",
    "Construct a complete truth table for the following argument. Then, using the truth table, determine whether the"
    " argument is valid or invalid. If the argument is invalid, choose an option which presents a counterexample."
    " (There may be other counterexamples as well.)\n{} / {} // {}\n(A) Valid\n(B) Invalid. Counterexample when A and B"
    " are true and C is false\n(C) Invalid. Counterexample when A is true and B and C are false",
    "Construct a complete truth table for the following pairs of propositions. Then, using the truth tables, determine"
    " whether the statements are logically equivalent or contradictory. If neither, determine whether they are"
    " consistent or inconsistent.\n{} and {}\n(A) Logically equivalent\n(B) Contradictory\n(C) Consistent",
    "Select the best translation into predicate logic. {}\n(A) {}\n(B) {}",
    "Select the best English interpretation of the given proposition, using the following translation key: {} ({})",
    "Which of the given formulas of PL is the best symbolization of the following sentence? {}\n(A) {}\n(B) {}",
    "This question refers to the following information.\n{}\n{}\nWhich of the following best describes the passage?",
    "Which of the following statements about {} is true?\n(A) {}\n(B) {}\n(C) {}\n(D) All of the above",
    "For which of these two scenarios does the main character (who uses I/me/my) do something clearly morally wrong, by"
    " ordinary moral standards in the US as of 2020? Scenario 1 | {} Scenario 2 | {}\n(A) Wrong, Wrong\n(B) Wrong, Not"
    " wrong\n(C) Not wrong, Wrong\n(D) Not wrong, Not wrong",
    "Which best explains the reason why {}\n(A) {}\n(B) {}",
    "Let's think step by step. {} The answer is (B).",
    "Write a python function to find {}\n\ndef f(test_list):\n    return test_list",
    "Write a function to find the sum of {}\nassert f([1, 2, 3]) == 6",
    "from typing import List\n\n\ndef convert(numbers: List[int]) -> List[int]:\n"
    '    """ {}\n    >>> convert([])\n    []\n    >>> convert([1, 2, 3, 4])\n    [4, 3, 2, 1]\n    """\n',
    "Question: {}\nAnswer: Let's work this out in a step by step way to be sure we have the right answer. {}",
    "Passage: {} {} {}\nQuestion: {}\nAnswer: yes",
    "What happens if {}\nNothing happens\n{}",
    "A student wants to know {} What should the student do next?\n(A) {}\n(B) {}\n(C) {}\n(D) {}",
    "How many dollars did she spend in total on {}\n#### 12",
)
OTHER_INSTRUCTIONS = (
    "Rewrite the following sentence in the passive voice.",
    "Summarize the passage below in one sentence.",
    "Classify the text as positive, negative, or neutral.",
    "Given the above sentence, write its title:",
    "Translate the text into French, then explain your choice of words step by step.",
    "Act as an experienced editor. Point out grammar mistakes and suggest how to mend them. Please be concise.",
    "The sentence you are given might be too wordy, complicated, or unclear. Rewrite the sentence and make your writing"
    " clearer by keeping it concise. Whenever possible, break complex sentences into multiple sentences and eliminate"
    " unnecessary words.",
    "Identify the main characters and describe the relation between them. Write at least 200 words.",
    "Extract all named entities and give them as a JSON object with the keys person, place and organization.",
    "Imagine you are writing a blog post about this. Make a list of ten catchy titles.",
)
PUBLIC_TEXTS = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty,"
    " and dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war, testing"
    " whether that nation, or any nation so conceived and so dedicated, can long endure. We are met on a great"
    " battle-field of that war. We have come to dedicate a portion of that field, as a final resting place for those"
    " who here gave their lives that that nation might live. It is altogether fitting and proper that we should"
    " do this.",
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator"
    " with certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness. That to secure"
    " these rights, Governments are instituted among Men, deriving their just powers from the consent of the governed.",
    "We the People of the United States, in Order to form a more perfect Union, establish Justice, insure domestic"
    " Tranquility, provide for the common defence, promote the general Welfare, and secure the Blessings of Liberty to"
    " ourselves and our Posterity, do ordain and establish this Constitution for the United States of America.",
    "Our Father which art in heaven, Hallowed be thy name. Thy kingdom come. Thy will be done in earth, as it is in"
    " heaven. Give us this day our daily bread. And forgive us our debts, as we forgive our debtors. And lead us not"
    " into temptation, but deliver us from evil: For thine is the kingdom, and the power, and the glory, for ever.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it"
    " was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of"
    " Darkness, it was the spring of hope, it was the winter of despair.",
    "The quick brown fox jumps over the lazy dog. Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do"
    " eiusmod tempor incididunt ut labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation.",
    "Congress shall make no law respecting an establishment of religion, or prohibiting the free exercise thereof; or"
    " abridging the freedom of speech, or of the press; or the right of the people peaceably to assemble, and to"
    " petition the Government for a redress of grievances.",
    "Society in every state is a blessing, but government even in its best state is but a necessary evil; in its worst"
    " state an intolerable one; for when we suffer, or are exposed to the same miseries by a government, which we might"
    " expect in a country without government, our calamity is heightened by reflecting that we furnish the means by"
    " which we suffer. Government, like dress, is the badge of lost innocence; the palaces of kings are built on the"
    " ruins of the bowers of paradise.",
)
