CLIENT = """
import collections, collections.abc, sys
# The package still looks for this where Python kept it before 3.10.
collections.Iterable = collections.abc.Iterable
from marathon import MarathonClient
from marathon.models import MarathonApp, MarathonGroup
client = MarathonClient("http://one:8080")
app = lambda line, **more: MarathonApp(cmd=line, mem=16, cpus=0.05, **more)
"""


def client(lines):
    """What these lines of Python print with the client of the package."""
    one.succeed(f"cat >/root/client.py <<'END'\n{CLIENT}{lines}\nEND")
    return one.succeed("PYTHONPATH=/payload/clients python3 /root/client.py").strip()


def wait_for(lines, printed):
    retry(lambda _: client(lines) == printed, 90)


start_all()
one.wait_for_unit("tepui-control-plane.service")
two.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w two", timeout=60)

with subtest("an app is created, listed and scaled"):
    t.assertEqual(client('print(client.create_app("/py/sleep", app("sleep 1000")).id)'), "/py/sleep")
    client('client.scale_app("/py/sleep", instances=3)')
    wait_for('print(client.get_app("/py/sleep").tasks_running)', "3")
    t.assertEqual(client('print([a.id for a in client.list_apps()])'), "['/py/sleep']")
    hosts = client('print({task.host for task in client.list_tasks("/py/sleep")})')
    t.assertEqual(hosts, "{'two'}")

with subtest("a killed task is replaced, and another one goes for good"):
    before = client('print(sorted(task.id for task in client.list_tasks("/py/sleep"))[0])')
    client(f'client.kill_task("/py/sleep", "{before}")')
    wait_for(
        f'ids = [task.id for task in client.list_tasks("/py/sleep")]\n'
        f'print("{before}" in ids, client.get_app("/py/sleep").tasks_running)',
        "False 3",
    )
    client('client.kill_task("/py/sleep", client.list_tasks("/py/sleep")[0].id, scale=True)')
    wait_for('print(client.get_app("/py/sleep").tasks_running)', "2")

with subtest("it is rolled over to another version, and back"):
    first = client('print(client.get_app("/py/sleep").version)')
    client('client.update_app("/py/sleep", MarathonApp(cmd="sleep 2000"), force=True)')
    wait_for("print(len(client.list_deployments()))", "0")
    two.succeed("pgrep -f 'sleep 2000'")
    client(f'client.rollback_app("/py/sleep", "{first}", force=True)')
    wait_for("print(len(client.list_deployments()))", "0")
    two.fail("pgrep -f 'sleep 2000'")
    two.succeed("pgrep -f 'sleep 1000'")

with subtest("a group comes up in the order of its dependencies, is scaled and deleted"):
    client(
        'client.create_group(MarathonGroup(id="/shop", apps=['
        'app("sleep 3000", id="/shop/db"), '
        'app("sleep 4000", id="/shop/web", dependencies=["/shop/db"])]))'
    )
    wait_for("print(len(client.list_deployments()))", "0")
    client('client.scale_group("/shop", 2)')
    wait_for('print(client.get_app("/shop/web").tasks_running)', "2")
    client('client.delete_group("/shop", force=True)')
    wait_for("print(len(client.list_deployments()))", "0")
    two.fail("pgrep -f 'sleep [34]000'")

with subtest("an app leaves nothing behind"):
    client('client.delete_app("/py/sleep", force=True)')
    wait_for("print(len(client.list_tasks()))", "0")
    two.fail("pgrep -f 'sleep 1000'")
