"""What the code itself says, read from its text: what is started, evaluated, imported and drawn, and where."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.security.requirements import DOCUMENT, ROOT, section

CODE = ROOT / "omni_app"
STARTS = {
    ("omni_app/serve.py", "subprocess.run"),
    ("omni_app/serve.py", "os.execve"),
    ("omni_app/providers/local.py", "asyncio.create_subprocess_exec"),
}
"""Where a program is started: each time this very Python, with arguments of our own and without a shell."""
START = re.compile(
    r"subprocess\.\w+|os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*)|.*create_subprocess_\w+|pty\..*"
)
EVALUATES = {"eval", "exec", "compile", "__import__"}
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "codeop", "ctypes", "cffi"}
"""Read what somebody sends and become it, or leave Python's memory."""
NOT_HERE = {
    "xml", "lxml", "defusedxml", "xmltodict", "ldap", "ldap3", "pylatex", "jpype", "memcache", "pymemcache",
    "aiomcache",
    "graphql", "strawberry", "graphene", "jwt", "jose", "authlib", "oauthlib", "saml2", "onelogin", "aiortc", "twilio",
    "jinja2", "mako", "zipfile", "tarfile", "gzip", "bz2", "lzma", "imaplib", "poplib", "markdown",
}  # fmt: skip
"""What the section 'What does not apply' says is not here."""
CRYPTOGRAPHY = {"hashlib", "hmac", "secrets", "cryptography", "argon2", "passlib", "pyotp", "ssl", "nacl", "Crypto"}
NOT_SECRET = {"omni_app/request_ids.py", "omni_app/evaluate/curves.py"}
"""Draw with `random`: ids that open nothing, and samples with a seed."""
KERNEL_CALLS = {("omni_app/large_pages.py", "ctypes")}
"""`madvise` and `mincore`, about addresses that the kernel told itself; nobody else's words come near them."""
IN_A_BROWSER = (
    "eval(", "new Function", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "document.cookie",
    "localStorage", "indexedDB", "postMessage", '"message"', '"paste"', "__proto__", "Object.assign", "<script",
)  # fmt: skip


@cache
def trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(CODE.rglob("*.py"))}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Path, what is called as it is written, and the call."""
    for path, tree in trees().items():
        for one in ast.walk(tree):
            if isinstance(one, ast.Call):
                yield path, ast.unparse(one.func), one


def imports() -> Iterator[tuple[str, str]]:
    """Path, and the first name of a module that is imported there."""
    for path, tree in trees().items():
        for one in ast.walk(tree):
            if isinstance(one, ast.Import):
                yield from ((path, name.name.partition(".")[0]) for name in one.names)
            elif isinstance(one, ast.ImportFrom) and one.module:
                yield path, one.module.partition(".")[0]


def test_programs_are_started_in_the_places_that_were_looked_at_and_by_no_shell() -> None:
    found = {(path, name) for path, name, _ in calls() if START.fullmatch(name)}
    assert found == STARTS
    assert not [path for path, _, call in calls() for one in call.keywords if one.arg == "shell"]


def test_nothing_is_evaluated_and_nothing_is_read_that_becomes_code() -> None:
    assert not [(path, name) for path, name, _ in calls() if name in EVALUATES]
    assert {(path, name) for path, name in imports() if name in UNSAFE} == KERNEL_CALLS


def test_what_is_said_not_to_be_here_is_not_imported() -> None:
    assert not [(path, name) for path, name in imports() if name in NOT_HERE]


def test_no_pattern_is_made_of_what_somebody_sent() -> None:
    """A regular expression is a text of ours, or a name in capitals that stands for one."""
    made = [
        (path, ast.unparse(call))
        for path, name, call in calls()
        if re.fullmatch(r"re\.(compile|search|match|fullmatch|sub|subn|split|findall|finditer)", name)
        and not isinstance(call.args[0], ast.Constant)
        and not re.fullmatch(r"[A-Z_]+|f?['\"].*", ast.unparse(call.args[0]), re.DOTALL)
    ]
    assert made == []
    inside = {
        one.id
        for _, name, call in calls()
        if name.startswith("re.") and call.args and isinstance(call.args[0], ast.JoinedStr)
        for one in ast.walk(call.args[0])
        if isinstance(one, ast.Name)
    }
    assert all(one.isupper() for one in inside), inside


def test_cryptography_is_used_where_the_inventory_says_and_nowhere_else() -> None:
    used = {path for path, name in imports() if name in CRYPTOGRAPHY}
    told = set(re.findall(r"`(omni_app/[\w/]+\.py)`", section(DOCUMENT, "Algorithms and keys")))
    assert used == told
    hashes = {name for _, name, _ in calls() if re.fullmatch(r"hashlib\.\w+", name)}
    assert hashes <= {"hashlib.sha256", "hashlib.blake2b"}
    assert not [name for _, name, _ in calls() if re.search(r"md5|sha1|\bDES|RC4|ECB|CBC|_unverified|CERT_NONE", name)]


def test_logs_are_written_where_the_inventory_says_and_nowhere_else() -> None:
    """`docs/OBSERVE.md`: standard error by one module, standard output by another, a collector by a third."""
    handlers = {
        path
        for path, name, _ in calls()
        if re.search(r"logging\.\w+Handler|basicConfig|dictConfig|fileConfig|addHandler", name)
    }
    assert handlers == {"omni_app/log_lines.py", "omni_app/observe/log_sender.py"}
    assert {path for path, name, _ in calls() if name == "write_to_stdout" or name.startswith("os.write")} <= {
        "omni_app/observe/line_writer.py",
        "omni_app/storage/spool.py",
    }


def test_numbers_that_can_be_guessed_are_drawn_where_nothing_depends_on_them() -> None:
    assert {path for path, name in imports() if name == "random"} == NOT_SECRET


def test_our_scripts_evaluate_nothing_and_listen_to_no_other_window() -> None:
    scripts = sorted((ROOT / "assets").glob("*.js"))
    assert len(scripts) == 2
    for script in scripts:
        text = re.sub(r"/\*.*?\*/", "", script.read_text(), flags=re.DOTALL)
        assert [word for word in IN_A_BROWSER if word in text] == [], script.name


def test_our_scripts_store_sealed_drafts_and_nothing_else() -> None:
    ours, estimate = ((ROOT / "assets" / name).read_text() for name in ("omni.js", "estimate.js"))
    assert "sessionStorage" not in estimate
    assert set(re.findall(r"sessionStorage\b[^;)]*", ours)) == {
        "sessionStorage.setItem(name, kept",
        "sessionStorage.getItem(name",
        "sessionStorage.removeItem(name",
        'sessionStorage.removeItem("token"',
        "sessionStorage",  # its names, at the log-out
    }
    kept = re.findall(r"const kept = (.*);", ours)
    assert kept == ['key && text ? await sealed(key, name, text) : ""', "sessionStorage.getItem(name)"]
