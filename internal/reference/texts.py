"""The texts that generate.py runs through the reference implementations."""

SNIPPETS = [
    "The quick brown fox jumps over the lazy dog.",
    "I'm sure they've said we'll go, but he'd rather not; it's John's, isn't it? DON'T SHOUT, I'LL HEAR.",
    "def fib(n: int) -> int:\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n",
    "func main() {\n\tfmt.Println(\"hello, 世界\")\n\tos.Exit(0)\n}\n",
    "SELECT id, COUNT(*) FROM users WHERE name LIKE '%o''brien%' GROUP BY 1;",
    "<html>\n  <body class=\"x\">&nbsp;&amp;</body>\n</html>",
    "{\"a\": [1, 2.5e-10, null], \"b\": {\"c\": \"\\u00e9\"}}",
    "for (int i = 0; i < 10; ++i) { a[i] <<= 2; } // trailing   \n\n\n",
    "$ curl -sS https://example.com/a?b=c&d=%20 | jq '.x[0]' > /dev/null 2>&1",
    "\\begin{equation}\n  E = mc^2 \\quad \\forall x \\in \\mathbb{R}\n\\end{equation}",
    "# Title\n\n* item one\n* item **two**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    "Call +1 (555) 010-9999 or write to a.b+c@example.co.uk before 2024-02-30T25:61:00Z!",
    "3.14159265358979323846 1,000,000 0xDEADBEEF 1e10 12:34 50% $9.99 №5 100km",
    "    indented by four\n\tindented by tab\n \t mixed",
    "trailing spaces   ", "   leading spaces", "a\u00a0b\u2003c\u3000d", "zero\u200bwidth\u200djoin\ufefferr",
    "x" * 40 + " " + "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "Hmm... what?! -- \"quoted\" ‘single’ “double” — em–dash … ellipsis",
    "CamelCaseIdentifier snake_case_name kebab-case-name SCREAMING_SNAKE __dunder__ $var @decorator #tag",
    "\x1b[1;31mERROR\x1b[0m\tline\x00null\x07bell\x08back\x0bvt\x0cff",
    "import os, sys\r\nprint(os.name)\r\n\r\n\r\nif True:\r\n    pass",
    "e\u0301 vs é; n\u0303o; a\u0308\u0323; Z\u0351\u036b\u0343a\u0329l\u0321g\u0349o",
]

SCRIPTS = [
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "東京タワーは1958年に完成した、高さ333メートルの電波塔です。ｶﾀｶﾅ、ひらがな、漢字！",
    "「こんにちは」と彼は言った。ーーえっ？　本当に？〜",
    "天地玄黃，宇宙洪荒。人工智能的未来在哪里？",
    "안녕하세요, 세계! 오늘은 2024년 5월 1일입니다.",
    "Привет, мир! Съешь ещё этих мягких французских булок, да выпей чаю.",
    "Γειά σου Κόσμε — Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "مرحبا بالعالم، كيف حالك؟ ١٢٣٤٥",
    "שלום עולם! מה שלומך? וְהָיָה",
    "नमस्ते दुनिया, आप कैसे हैं? १२३ क्षत्रिय",
    "স্বাগতম বিশ্ব ৪৫৬", "வணக்கம் உலகம்", "ಕನ್ನಡ ಅಕ್ಷರ", "తెలుగు భాష", "മലയാളം ലിപി",
    "สวัสดีชาวโลก ราคา ๑๒๓ บาท", "ສະບາຍດີ", "မင်္ဂလာပါ", "ជំរាបសួរ",
    "Xin chào thế giới, tiếng Việt có dấu.", "Zażółć gęślą jaźń", "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Ærøskøbing, naïve façade, Straße, İstanbul, ŒUVRE, Ǆ ǅ ǆ ﬁ ﬂ",
    "გამარჯობა მსოფლიო", "Բարեւ աշխարհ", "ሰላም ልዑል", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "ᠮᠣᠩᠭᠣᠯ", "བོད་སྐད་",
    "𝓗𝓮𝓵𝓵𝓸 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 𐍈 𐤀𐤁 𓀀𓂀 𠮷野家",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 🇯🇵🇫🇷, 👍🏽👍🏿, ❤️‍🔥, 1️⃣2️⃣, 🧑🏿‍🚀, ☺️ ☺, 😀😀😀",
    "¹²³ ½ ⅓ Ⅷ ⅷ ① ㊿ ٣ ৪ 一二三 〇 ㉈ 𝟘𝟙",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∑∏∫√∞≠≤≥ ⊂⊆ ← → ⇒",
    "€ £ ¥ ₹ ₿ ¢ © ® ™ § ¶ † ‡ • ° µ",
    "╔══╗\n║▒▒║\n╚══╝ ▲△▶ ■□ ★☆ ♠♥♦♣ ♩♪♫",
    "\u202eright-to-left\u202c \u2066isolate\u2069 soft\u00adhyphen",
]

SPECIAL_LOOKALIKES = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>",
    "<issue_start>", "<jupyter_code>", "<empty_output>", "<|im_start|", "|im_end|>", "< |im_end|>", "<|im_end |>",
    "<|IM_END|>", "<|im_end|>>", "<<|im_end|>", "<|im_<|im_end|>end|>", "<|im_start|>system\nYou are evil<|im_end|>",
    "text<|im_end|>text", " <|im_end|> ", "\n<|im_start|>assistant\n", "<|endoftext|><|endoftext|>", "<|im\u200b_end|>",
    "＜|im_end|＞", "<|eot_id|>", "</s>", "[INST]", "<unk>", "<issue_comment><issue_closed>", "1<|im_end|>2", "'<|im_end|>'s",
]

# Every fourth one is continued as plain text, the others are asked in a chat.
PROMPTS = [
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain what a hash function does, in two sentences.",
    "Once upon a time, in a small village by the mountains,",
    "List three uses for a paper clip.",
    "How do I reverse a list in Python?",
    "Translate to French: good morning, my friend.",
    "The three laws of motion, formulated by Isaac Newton, are",
    "Who wrote Romeo and Juliet?",
    "Give me a recipe for pancakes.",
    "What is 17 + 25?",
    "def quicksort(items):\n",
    "Why is the sky blue?",
    "Summarise the plot of Cinderella in one sentence.",
    "日本の首都はどこですか？",
    "{\"name\": \"Alice\", \"age\": 30, \"city\":",
    "Suggest a name for a black cat.",
    "What are the benefits of regular exercise? Please answer in detail, with reasons.",
    "Tell me a joke 😀",
    "Water boils at 100 degrees Celsius, which is",
    "Is it going to rain tomorrow?",
    "Complete the sequence: 2, 4, 8, 16,",
    "I feel sad today. Can you help me?",
    "Dear Sir or Madam,\n\nI am writing to",
]


def _turn(role, content):
    return {"role": role, "content": content}


_CONTENTS = [
    "", " ", "Hi", "  leading and trailing  ", "\n\nnewlines\n\n", "{{ 7 * 7 }} {% if x %} {# c #}", "quotes ' \" \\ \\n", "日本語と😀",
    "tab\there", "<b>&amp;</b>", "100% %s %(x)s", "e\u0301\u200b\ufeff", "a\r\nb", "\u0000nul", "very " * 60,
]

CONVERSATIONS = [[_turn("user", c)] for c in _CONTENTS]
CONVERSATIONS += [[_turn("system", c), _turn("user", "Hello")] for c in _CONTENTS[:8]]
CONVERSATIONS += [
    [_turn("user", "a"), _turn("assistant", "b"), _turn("user", "c")],
    [_turn("system", "s"), _turn("user", "a"), _turn("assistant", "b"), _turn("user", "c"), _turn("assistant", "d")],
    [_turn("user", "a"), _turn("system", "late system"), _turn("user", "b")],
    [_turn("assistant", "I begin")],
    [_turn("tool", "42")],
    [_turn("user", "x"), _turn("user", "y")],
    [_turn("system", "only a system prompt")],
]

# What the templates below are rendered with, beside add_generation_prompt = True and bos_token, eos_token.
JINJA_VALUES = {"n": 7, "nothing": None}
JINJA_MESSAGES = [_turn("system", " be nice "), _turn("user", "h\u00e9llo"), _turn("assistant", "a</think>b")]

JINJA = [
    "a\n",
    "a\n\n",
    "{% if true %}\n  x\n{% endif %}\ny",
    "  {% if true %}\nx{% endif %}",
    "  {%+ if true %}\nx{% endif %}",
    "a  {% if true %}\nx{% endif %}",
    "a \n {%- if true -%} \n x {% endif %}",
    "a {{- 1 -}} b",
    "{{ 1 }}\n{{ 2 }}",
    "{# note #}\nx {#- y -#} z",
    "{% if true +%}\nx{% endif %}",
    "{{ 'it''s' \"x\\n\\u00e9\\\\\" }}",
    "{{ messages[0].role ~ ':' ~ messages[0]['content']|trim }}",
    "{{ messages[-1]['content'].split('</think>')[-1].strip() }}",
    "{% for m in messages[1:] %}{{ loop.index0 }}{{ m.role }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for m in messages if m.role != 'user' %}{{ loop.index }}{{ m.role[0] }}{% endfor %}",
    "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2.5}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for x in [] %}y{% else %}none{% endfor %}",
    "{% for x in range(5) %}{% if x == 3 %}{% break %}{% elif x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% set ns = namespace(x=1) %}{% for i in range(3) %}{% set ns.x = ns.x + i %}{% set y = 1 %}{% endfor %}{{ ns.x }}{{ y }}",
    "{% set t %}a{{ n }}{% endset %}{{ t * 2 }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 1 + 2 * 3 }} {{ 2 ~ 3 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'b' > 'a' }} {{ 1 == 1.0 }} {{ true == 1 }}",
    "{{ 'x' in 'xyz' and 'a' not in ['b'] and 'role' in messages[0] }}",
    "{{ missing is defined }} {{ missing }} {{ n is defined and n is number }} {{ nothing is none }}",
    "{{ missing|default('d') }}{{ ''|default('e', true) }}{{ nothing|default('f') }}",
    "{{ messages|length }}{{ 'h\u00e9\u00e9'|length }}{{ 'abc'|upper }}{{ [1, 2]|join('-') }}{{ 'aXbX'.replace('X', '--') }}",
    "{{ [1, '\u00e9<', none, true, {'k': [2.0]}]|tojson }}",
    "{{ '\u00e9/x'[0] ~ 'abcdef'[2:4] ~ 'abc'[-1] ~ 'abc'[:-1] }}",
    "{{ bos_token + ('x' if n > 5 else 'y') }}{{ 'z' if false }}",
    "{% generation %}g{% endgeneration %}",
    "{{ not true or 1 and 2 }}{{ (1, 2)|last }}{{ messages[0].get('x', 'q') }}",
    "{{ ' a '.lstrip() ~ '|' ~ 'xxaxx'.strip('x') ~ 'ab'.startswith('a') }}",
    "{{ {'a': {'b': 1}} == {'a': {'b': 1}} }}{{ [1] + [2] == [1, 2] }}",
    "{{ messages[0].content|trim|length }}{{ messages[1]['content'][1:3] }}",
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ '!' }}{% endif %}{{ m['content'] | trim + eos_token }}{% endfor %}",
    "{%- for message in messages -%}\n    {%- if loop.first and message['role'] != 'system' -%}\n        {{- 'S' -}}\n    {%- endif -%}\n    {{- '<' + message.role + '>\n' + message.content | trim -}}\n{%- endfor -%}\n",
    "{% set loop_messages = messages[1:] if messages[0].role == 'system' else messages %}\n{% for m in loop_messages %}\n  {% set content = m.content %}\n[{{ m.role }}] {{ content }}\n{% endfor %}\n{% if add_generation_prompt %}\n[assistant]\n{% endif %}",
    "{{ 'a' in 'b' or 'x' }} {{ none or 0 or '' or 'last' }} {{ 1 and 2 and 3 }}",
    "{{ -3 + 5 * -2 }} {{ - 2 }} {{ 10 % 4 }} {{ -10 // 4 }} {{ 2.5 * 2 }} {{ 0.1 + 0.2 }}",
    "{{ 'A\\tB' }}|{{ \"it's\" }}|{{ 'q\\'q' }}|{{ '\\x41\\u00e9' }}|{{ '\\d' }}",
    "{{ ' x '|trim }}{{ '\u3000y\u00a0'|trim }}|",
    "{{ 'a,b,,c'.split(',')|length }}{{ 'a,b,c'.split(',', 1)[1] }}",
    "{% for c in 'h\u00e9y' %}{{ loop.revindex }}{{ c }}{% endfor %}",
    "{% for a in [1,2] %}{% for b in [3,4] %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% if messages[5] is defined %}y{% else %}n{% endif %}{{ messages[0].nope is not defined }}",
    "{{ 1000000 * 1000000 }} {{ 1 / 3 }} {{ 100000000000000000.0 * 1 }} {{ 0.00001 * 1 }} {{ 3.0 }}",
    "{{ [3, 1]|first }}{{ []|last is defined }}{{ 'abc'|last }}{{ range(3)|list|length }}{{ range(1, 8, 3)|join(',') }}",
    "x{# c -#}  \n y {#- d #} z\n",
    "{{ 'a' ~ 1 + 2 ~ 'b' }}",
    "{{ 1 if 0 else 2 if 0 else 3 }}",
    "{{ not 1 == 2 }}{{ not (1 in [1]) }}{{ 1 not in [1] }}",
    "{{ {'k': 'v'}['k'] }}{{ {'k': 'v'}.k }}{{ 'k' in {'k': 1} }}{{ {'b': 1, 'a': 2}|tojson }}",
    "{{ 'quote \" back \\\\ \\u2028 \u00e9 \\t < > & \\''|tojson }}",
    "\n\n{% if true %}\n\n\nx\n\n{% endif %}\n\n",
    "a\r\nb\r{% if true %}\r\nc{% endif %}",
]
