//! Real files in temporary directories. Waits have a limit, and "nothing more" is a short silence.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// Well above the quiet time, below the poll.
const SILENCE: Duration = Duration::from_millis(350);

struct Case {
    home: TempDir,
    _watcher: Watcher,
    hints: mpsc::Receiver<Hint>,
    files: Hint,
}

impl Case {
    /// Watches `names` below a new directory, after `prepare`.
    fn new(names: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        prepare(home.path());
        let (mut watcher, hints) = Watcher::new().unwrap();
        let files: Hint = names.iter().map(|name| home.path().join(name)).collect();
        watcher.set(files.clone(), Hint::new());
        Self {
            home,
            _watcher: watcher,
            hints,
            files,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    async fn hint(&mut self) -> Hint {
        timeout(Duration::from_secs(20), self.hints.recv())
            .await
            .expect("a hint in time")
            .expect("an open channel")
    }

    async fn silence(&mut self) {
        assert_eq!(timeout(SILENCE, self.hints.recv()).await.ok(), None);
    }

    /// Exactly one hint, of all the files.
    async fn one_hint(&mut self) {
        let hint = self.hint().await;
        assert_eq!(hint, self.files);
        self.silence().await;
    }
}

fn plain(home: &Path) {
    fs::write(home.join("a.toml"), "one").unwrap();
}

#[tokio::test]
async fn a_write_in_place() {
    let mut case = Case::new(&["a.toml"], plain);
    case.silence().await;
    fs::write(case.path("a.toml"), "two").unwrap();
    case.one_hint().await;
    fs::write(case.path("a.toml"), "six").unwrap();
    case.one_hint().await;
}

#[tokio::test]
async fn a_change_right_after_set() {
    let mut case = Case::new(&["a.toml"], plain);
    fs::write(case.path("a.toml"), "another length").unwrap();
    case.one_hint().await;
}

#[tokio::test]
async fn a_rename_over_it() {
    let mut case = Case::new(&["a.toml"], plain);
    for text in ["two", "six"] {
        fs::write(case.path(".a.toml.swp"), text).unwrap();
        fs::rename(case.path(".a.toml.swp"), case.path("a.toml")).unwrap();
        case.one_hint().await;
    }
}

#[tokio::test]
async fn a_delete_and_a_create() {
    let mut case = Case::new(&["a.toml"], plain);
    fs::remove_file(case.path("a.toml")).unwrap();
    fs::write(case.path("a.toml"), "two").unwrap();
    case.one_hint().await;
    fs::remove_file(case.path("a.toml")).unwrap();
    case.one_hint().await;
    fs::write(case.path("a.toml"), "two").unwrap();
    case.one_hint().await;
}

#[tokio::test]
async fn reading_and_other_files_are_no_news() {
    let mut case = Case::new(&["a.toml"], plain);
    case.silence().await;
    fs::read(case.path("a.toml")).unwrap();
    fs::write(case.path("b.toml"), "two").unwrap();
    case.silence().await;
}

#[tokio::test]
async fn several_files_make_one_hint() {
    let mut case = Case::new(&["a.toml", "b.toml"], plain);
    fs::write(case.path("a.toml"), "two").unwrap();
    fs::write(case.path("b.toml"), "new").unwrap();
    case.one_hint().await;
}

#[tokio::test]
async fn hints_nobody_takes_are_merged() {
    let mut case = Case::new(&["a.toml", "b.toml"], plain);
    for name in ["a.toml", "b.toml", "a.toml"] {
        fs::write(case.path(name), name.repeat(2)).unwrap();
        tokio::time::sleep(2 * QUIET).await;
    }
    let mut told = Hint::new();
    while let Ok(Some(hint)) = timeout(SILENCE, case.hints.recv()).await {
        told.extend(hint);
    }
    assert_eq!(told, case.files);
}

#[tokio::test]
async fn a_directory_that_is_made_later_and_made_anew() {
    let mut case = Case::new(&["x/y/a.toml"], |_| ());
    case.silence().await;
    for text in ["one", "two"] {
        fs::create_dir_all(case.path("x/y")).unwrap();
        fs::write(case.path("x/y/a.toml"), text).unwrap();
        case.one_hint().await;
        fs::write(case.path("x/y/a.toml"), "six").unwrap();
        case.one_hint().await;
        fs::remove_dir_all(case.path("x")).unwrap();
        case.one_hint().await;
    }
}

#[tokio::test]
async fn only_the_last_set_counts_and_dropping_ends_it() {
    let mut case = Case::new(&["a.toml"], plain);
    case.files = Hint::from([case.path("b.toml")]);
    case._watcher.set(case.files.clone(), Hint::new());
    fs::write(case.path("a.toml"), "two").unwrap();
    case.silence().await;
    fs::write(case.path("b.toml"), "two").unwrap();
    case.one_hint().await;

    let Case {
        _watcher, mut hints, ..
    } = case;
    drop(_watcher);
    assert_eq!(timeout(Duration::from_secs(20), hints.recv()).await.unwrap(), None);
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As Kubernetes lays out a mounted map: `a.toml -> ..data/a.toml`, `..data -> ..1`.
    fn mounted(home: &Path) {
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(home.join(version)).unwrap();
            fs::write(home.join(version).join("a.toml"), text).unwrap();
        }
        symlink("..1", home.join("..data")).unwrap();
        symlink("..data/a.toml", home.join("a.toml")).unwrap();
    }

    fn turn(case: &Case, to: &str) {
        symlink(to, case.path("..tmp")).unwrap();
        fs::rename(case.path("..tmp"), case.path("..data")).unwrap();
    }

    #[tokio::test]
    async fn a_turned_link() {
        for watched in ["a.toml", "..data/a.toml"] {
            let mut case = Case::new(&[watched], mounted);
            turn(&case, "..2");
            fs::remove_dir_all(case.path("..1")).unwrap();
            case.one_hint().await;
            fs::write(case.path("..2/a.toml"), "six").unwrap();
            case.one_hint().await;
        }
    }

    #[tokio::test]
    async fn a_link_to_nothing_that_becomes_something() {
        let mut case = Case::new(&["a.toml"], |home| symlink("far/b.toml", home.join("a.toml")).unwrap());
        case.silence().await;
        fs::create_dir(case.path("far")).unwrap();
        fs::write(case.path("far/b.toml"), "two").unwrap();
        case.one_hint().await;
    }

    #[test]
    fn a_circle_of_links_is_left() {
        let home = tempfile::tempdir().unwrap();
        symlink("b", home.path().join("a")).unwrap();
        symlink("a", home.path().join("b")).unwrap();
        let places = Places::of(&home.path().join("a"));
        assert_eq!(places.directories, [home.path().canonicalize().unwrap()].into());
    }
}
