//! Users and groups as the image knows them. Nothing of the image is trusted: names are resolved
//! inside its root, files are read up to a limit, and what is no ordinary file is not read.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use tepui_container::UserFacts;

use crate::fault::{Attempt, Fault};
use crate::held::Held;

/// Largest list of users or groups that is read.
const MAX_LIST_BYTES: u64 = 8 << 20;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Whom a container is to run as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// As `name`, `uid`, `name:group` or `uid:gid`.
    pub(crate) user: Option<&'a str>,
    /// The host is asked before the image who that is. Mesos's containerizer asks nobody else, and
    /// before it enters the image (its `launch.cpp`).
    pub(crate) of_host: bool,
    /// Groups besides the user's own.
    pub(crate) groups: &'a [String],
}

impl Wanted<'_> {
    /// Who that is in the image at `root`.
    pub(crate) fn look_up(self, root: &Path) -> Result<UserFacts, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(root, flags, Mode::empty()).on("open", root)?;
        let users = read(&root, "etc/passwd");
        let groups = read(&root, "etc/group");
        let wanted = self.user.unwrap_or("0");
        let (user, group) = match wanted.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (wanted, None),
        };
        let of_image = || {
            let known = known_user(&users, user)?;
            Some(UserFacts {
                uid: known.uid,
                gid: known.gid,
                groups: memberships(&groups, &known.name),
                home: Some(known.home).filter(|home| home.starts_with('/')),
            })
        };
        let number = user.parse::<u32>().ok();
        let known = if self.of_host {
            // Where they live is a matter of the image, as far as it says so of the same number.
            let home = |uid: u32| known_user(&users, &uid.to_string()).map(|known| known.home);
            let found = host_user(user)?.map(|facts| {
                let home = home(facts.uid).filter(|home| home.starts_with('/'));
                UserFacts { home, ..facts }
            });
            found.or_else(of_image)
        } else {
            match of_image() {
                None if number.is_none() => host_user(user)?,
                known => known,
            }
        };
        let facts = match (known, number) {
            (Some(known), _) => known,
            (None, Some(uid)) => UserFacts { uid, gid: 0, groups: Vec::new(), home: None },
            (None, None) => {
                return Err(Fault(format!(
                    "user '{user}' exists neither in the image nor on this host"
                )));
            }
        };
        with_groups(facts, group, self.groups, &groups)
    }
}

fn with_groups(
    mut facts: UserFacts,
    own: Option<&str>,
    further: &[String],
    groups: &str,
) -> Result<UserFacts, Fault> {
    let number = |name: &str| match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => known_group(groups, name)
            .ok_or_else(|| Fault(format!("group '{name}' does not exist in the image"))),
    };
    if let Some(own) = own {
        facts.gid = number(own)?;
        // As with Docker: who names a group belongs to no others.
        facts.groups.clear();
    }
    for name in further {
        facts.groups.push(number(name)?);
    }
    facts.groups.sort_unstable();
    facts.groups.dedup();
    // To the kernel this number says "leave it as it is", which is root's.
    if facts.groups.iter().chain([&facts.uid, &facts.gid]).any(|id| *id == u32::MAX) {
        return Err(Fault(format!("{} is the number of no user and no group", u32::MAX)));
    }
    Ok(facts)
}

/// The text of a file of the image; empty when there is none that could be read.
fn read(root: &OwnedFd, path: &str) -> String {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Not waiting matters: a pipe would keep us for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let Ok(file) = openat2(root.as_fd(), path, flags, Mode::empty(), inside) else {
        return String::new();
    };
    let is_file = fstat(&file)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile);
    let mut bytes = Vec::new();
    if !is_file || File::from(file).take(MAX_LIST_BYTES).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn passwd_line(line: &str) -> Option<Known> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    let home = fields.nth(1).unwrap_or_default().to_owned();
    Some(Known { name, uid, gid, home })
}

/// A number is nobody's name: an image could call root so.
fn known_user(users: &str, wanted: &str) -> Option<Known> {
    let number = wanted.parse::<u32>().ok();
    let mut lines = users.lines().filter_map(passwd_line);
    lines.find(|one| number.map_or(one.name == wanted, |number| one.uid == number))
}

/// A user of the host with the groups that it has there.
fn host_user(wanted: &str) -> Result<Option<UserFacts>, Fault> {
    let found = match wanted.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(wanted),
    };
    let failed = |error| Fault(format!("failed to look up user '{wanted}' on this host: {error}"));
    let Some(user) = found.map_err(failed)? else { return Ok(None) };
    let name = CString::new(user.name).map_err(|_| Fault(format!("'{wanted}' is no name")))?;
    let groups = getgrouplist(&name, user.gid).map_err(failed)?;
    Ok(Some(UserFacts {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().filter(|group| *group != user.gid).map(Gid::as_raw).collect(),
        home: None,
    }))
}

fn known_group(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

fn memberships(groups: &str, user: &str) -> Vec<u32> {
    let of = |line: &str| {
        let mut fields = line.split(':');
        let number = fields.nth(2)?.parse().ok()?;
        fields.next()?.split(',').any(|member| member.trim() == user).then_some(number)
    };
    groups.lines().filter_map(of).collect()
}

/// The sandbox and what was fetched into it become the user's. Nothing of the task runs yet, and
/// links are not followed.
pub(crate) fn give(sandbox: &Held, user: &UserFacts) -> Result<(), Fault> {
    if user.uid == 0 && user.gid == 0 {
        return Ok(());
    }
    let folder = sandbox.folder().to("open the sandbox")?;
    give_below(&folder, user, 0).to("give the sandbox its user")
}

fn give_below(folder: &OwnedFd, user: &UserFacts, depth: usize) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, Dir, chownat, fchown, openat};
    const DEEPEST: usize = 256;
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    fchown(folder, Some(uid), Some(gid))?;
    if depth > DEEPEST {
        return Err(rustix::io::Errno::LOOP);
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(folder, name, flags, Mode::empty()) {
            Ok(below) => give_below(&below, user, depth + 1)?,
            Err(_) => {
                chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nbad line\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        let group = "root:x:0:\nweb:x:34:\nlog:x:7:web,mail\nmail:x:8:mail\n";
        std::fs::write(root.path().join("etc/group"), group).unwrap();
        root
    }

    fn facts(wanted: Option<&str>) -> Result<UserFacts, Fault> {
        Wanted { user: wanted, of_host: false, groups: &[] }.look_up(image().path())
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let web = UserFacts { uid: 33, gid: 34, groups: vec![7], home: Some("/srv".into()) };
        assert_eq!(facts(Some("web")).unwrap(), web);
        assert_eq!(facts(Some("33")).unwrap(), web);
        assert_eq!(facts(None).unwrap().home.as_deref(), Some("/root"));
    }

    #[test]
    fn a_group_beside_the_user_replaces_all_others() {
        let named = facts(Some("web:mail")).unwrap();
        assert_eq!((named.gid, named.groups), (8, vec![]));
        assert_eq!(facts(Some("5000:6000")).unwrap().gid, 6000);
    }

    #[test]
    fn a_number_that_nobody_knows_is_a_user_all_the_same() {
        let stranger = facts(Some("4711")).unwrap();
        assert_eq!((stranger.uid, stranger.gid), (4711, 0));
    }

    #[test]
    fn an_image_makes_no_user_of_the_host_and_no_number_root() {
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        let root = image();
        let lies =
            format!("nobody:x:0:0::/root:/bin/sh\n{uid}:x:0:0::/root:/bin/sh\nown:x:7:7::/own:\n");
        std::fs::write(root.path().join("etc/passwd"), lies).unwrap();
        let of = |user: &str, of_host: bool| {
            let wanted = Wanted { user: Some(user), of_host, groups: &[] };
            let known = wanted.look_up(root.path()).unwrap();
            (known.uid, known.gid)
        };
        for user in ["nobody".to_owned(), uid.to_string()] {
            assert_eq!(of(&user, true), (uid, gid), "{user}");
        }
        assert_eq!(of("own", true), (7, 7), "whom only the image knows");
        // Docker's words are the image's, but a number is a number.
        assert_eq!(of("nobody", false), (0, 0));
        assert_eq!(of(&uid.to_string(), false).0, uid);
    }

    #[test]
    fn a_user_of_the_host_lives_where_the_image_says() {
        let root = User::from_name("root").unwrap().unwrap();
        let wanted = Wanted { user: Some("root"), of_host: true, groups: &[] };
        let known = wanted.look_up(image().path()).unwrap();
        assert_eq!((known.uid, known.gid), (root.uid.as_raw(), root.gid.as_raw()));
        assert_eq!(known.home.as_deref(), Some("/root"));
    }

    #[test]
    fn a_name_that_nobody_knows_is_refused() {
        let error = facts(Some("no-such-user-here")).unwrap_err().to_string();
        assert!(error.contains("'no-such-user-here' exists neither"), "{error}");
    }

    #[test]
    fn a_list_of_users_is_never_read_through_a_link_to_the_host() {
        let root = image();
        let list = root.path().join("etc/passwd");
        std::fs::remove_file(&list).unwrap();
        std::os::unix::fs::symlink("../../../../../../../../etc/passwd", &list).unwrap();
        // Inside the root the link leads to itself: there is no list then.
        let daemon = Wanted { user: Some("1"), of_host: false, groups: &[] };
        let daemon = daemon.look_up(root.path()).unwrap();
        assert_eq!((daemon.uid, daemon.gid, daemon.home), (1, 0, None));
    }

    #[test]
    fn a_pipe_instead_of_a_list_keeps_nobody_waiting() {
        let root = image();
        let list = root.path().join("etc/passwd");
        std::fs::remove_file(&list).unwrap();
        nix::unistd::mkfifo(&list, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let wanted = Wanted { user: Some("7"), of_host: false, groups: &[] };
        assert_eq!(wanted.look_up(root.path()).unwrap().uid, 7);
    }
}
