// Drives the official Octopus client for Go against a server, as a user of it would.
//
// Reads TWIN_URL, TWIN_API_KEY (an administrator's) and TWIN_CONTROL_URL (the twin's
// control door, which makes the server throttle). Prints one line for each thing that works; at
// the first that does not, says what was expected and exits with 1. Prints no key.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/client"
	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/core"
	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/newclient"
	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/serviceaccounts"
	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/teams"
	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/userroles"
	"github.com/OctopusDeploy/go-octopusdeploy/v2/pkg/users"
)

// world is what the steps hand on to each other.
type world struct {
	client  *client.Client
	account *users.User
	key     *users.CreateAPIKey
}

type step struct {
	name string
	run  func(*world) error
}

var steps = []step{
	{"root document", root},
	{"spaces", spaces},
	{"who am I", whoAmI},
	{"make a service account and read it back", makeAccount},
	{"a name that is taken is refused", nameTaken},
	{"an account that is not there", notThere},
	{"make a key with an end", makeKey},
	{"the key works and is the account's", keyWorks},
	{"list and read keys", readKeys},
	{"no key for another person", noKeyForPeople},
	{"without the right", withoutRight},
	{"make a team and put the account in it", team},
	{"user roles, and one given to a team", roles},
	{"OIDC identities", identities},
	{"filter users, and follow pages", pages},
	{"a throttled call", throttled},
	{"switch the account off", switchOff},
	{"delete the key", deleteKey},
	{"delete the account", deleteAccount},
}

func main() {
	connected, err := connect(os.Getenv("TWIN_API_KEY"))
	if err != nil {
		fail("connect", err)
	}
	w := &world{client: connected}
	for _, step := range steps {
		if err := step.run(w); err != nil {
			fail(step.name, err)
		}
		fmt.Printf("ok  %s\n", step.name)
	}
}

func fail(step string, err error) {
	fmt.Fprintf(os.Stderr, "FAILED  %s: %v\n", step, err)
	os.Exit(1)
}

func connect(key string) (*client.Client, error) {
	base, err := url.Parse(os.Getenv("TWIN_URL"))
	if err != nil {
		return nil, err
	}
	return client.NewClient(nil, base, key, "")
}

// want says what was expected when it is not so.
func want(so bool, format string, values ...any) error {
	if so {
		return nil
	}
	return fmt.Errorf("expected "+format, values...)
}

// refused wants an error with this status and these words, as the client parses it.
func refused(err error, status int, words string) error {
	var said *core.APIError
	if !errors.As(err, &said) {
		return fmt.Errorf("expected an API error with status %d, got %v", status, err)
	}
	text := strings.Join(append([]string{said.ErrorMessage}, said.Errors...), " ")
	return errors.Join(
		want(said.StatusCode == status, "status %d, got %d", status, said.StatusCode),
		want(strings.Contains(text, words), "%q in %q", words, text),
	)
}

func name(what string) string { return "go " + what }

func root(w *world) error {
	root, err := w.client.Root.Get()
	if err != nil {
		return err
	}
	return errors.Join(root.Validate(), want(root.Version != "", "a version"))
}

func spaces(w *world) error {
	space, err := w.client.Spaces.GetByName("Default")
	if err != nil {
		return err
	}
	return want(space.IsDefault, "the space Default to be the default")
}

func whoAmI(w *world) error {
	me, err := w.client.Users.GetMe()
	if err != nil {
		return err
	}
	return want(me.IsRequestor && !me.IsService, "to be a person and myself, got %v", me.Username)
}

func service(w *world, username string) (*users.User, error) {
	user := users.NewUser(username, username)
	user.IsService = true
	return users.Add(w.client, user)
}

func makeAccount(w *world) error {
	made, err := service(w, name("account"))
	if err != nil {
		return err
	}
	w.account = made
	read, err := users.GetByID(w.client, made.ID)
	if err != nil {
		return err
	}
	return errors.Join(
		want(made.IsService && !made.CanPasswordBeEdited, "a service account"),
		want(reflect.DeepEqual(made, read), "to read what was made: %v, got %v", made, read),
	)
}

func nameTaken(w *world) error {
	_, err := service(w, strings.ToUpper(name("account")))
	return refused(err, http.StatusBadRequest, "taken")
}

func notThere(w *world) error {
	_, err := users.GetByID(w.client, "Users-999999")
	_, listed := w.client.Users.GetByID("Users-999999") // looks for it in a list
	return errors.Join(
		refused(err, http.StatusNotFound, "'Users-999999' was not found"),
		want(listed != nil, "the list not to have it either"),
	)
}

func makeKey(w *world) error {
	expires := time.Now().Add(time.Hour).Round(time.Millisecond)
	wish := users.NewAPIKey("go purpose", w.account.ID)
	wish.Expires = &expires
	made, err := w.client.APIKeys.Create(wish)
	if err != nil {
		return err
	}
	w.key = made
	return errors.Join(
		want(regexp.MustCompile(`^API-[A-Z\d]+$`).MatchString(made.APIKey), "a key as the client takes it"),
		want(made.Expires.Equal(expires), "the end %v, got %v", expires, made.Expires),
		want(made.Purpose == wish.Purpose, "the purpose that was asked for"),
	)
}

func keyWorks(w *world) error {
	its, err := connect(w.key.APIKey)
	if err != nil {
		return err
	}
	me, err := its.Users.GetMe()
	if err != nil {
		return err
	}
	return want(me.ID == w.account.ID, "%s, got %s", w.account.ID, me.ID)
}

func readKeys(w *world) error {
	list, err := w.client.APIKeys.GetByUserID(w.account.ID)
	if err != nil {
		return err
	}
	one, err := w.client.APIKeys.GetByID(w.account.ID, w.key.ID)
	if err != nil {
		return err
	}
	linked, err := w.client.Users.GetAPIKeys(w.account)
	if err != nil {
		return err
	}
	return errors.Join(
		want(len(list) == 1 && list[0].ID == w.key.ID, "the one key"),
		want(len(linked.Items) == 1, "the one key by the account's link"),
		want(one.APIKey.HasValue && one.APIKey.NewValue == "", "no text"),
		want(one.APIKey.Hint != "" && one.APIKey.Hint != w.key.APIKey, "a hint"),
		want(one.Expires.Equal(*w.key.Expires), "the end that was asked for"),
	)
}

func noKeyForPeople(w *world) error {
	human := users.NewUser(name("human"), name("human"))
	human.Password = "Correct-horse-9"
	made, err := users.Add(w.client, human)
	if err != nil {
		return err
	}
	wish := users.NewAPIKey("no", made.ID)
	_, err = newclient.Post[users.CreateAPIKey](w.client.HttpSession(), keyPath(made.ID, ""), wish)
	return refused(err, http.StatusForbidden, "You do not have permission")
}

func keyPath(user, key string) string {
	return strings.TrimSuffix("/api/users/"+user+"/apikeys/"+key, "/")
}

func withoutRight(w *world) error {
	its, err := connect(w.key.APIKey)
	if err != nil {
		return err
	}
	_, err = users.Get(its, "", users.UsersQuery{})
	return refused(err, http.StatusForbidden, "Missing permission: UserView")
}

func team(w *world) error {
	made, err := w.client.Teams.Add(teams.NewTeam(name("team")))
	if err != nil {
		return err
	}
	made.MemberUserIDs = append(made.MemberUserIDs, w.account.ID)
	changed, err := w.client.Teams.Update(made)
	if err != nil {
		return err
	}
	mine, err := w.client.Users.GetTeams(w.account)
	if err != nil {
		return err
	}
	in := false
	for _, team := range *mine {
		in = in || team.ID == made.ID
	}
	return errors.Join(
		want(in, "the account in its team"),
		want(reflect.DeepEqual(changed.Links, made.Links), "the same links"),
		w.client.Teams.Delete(changed),
	)
}

func roles(w *world) error {
	role := userroles.NewUserRole(name("role"))
	role.GrantedSystemPermissions = []string{"UserView"}
	role, err := w.client.UserRoles.Add(role)
	if err != nil {
		return err
	}
	team, err := w.client.Teams.Add(teams.NewTeam(name("role team")))
	if err != nil {
		return err
	}
	scope := userroles.NewScopedUserRole(role.ID)
	scope.TeamID = team.ID
	scope, err = w.client.ScopedUserRoles.Add(scope)
	if err != nil {
		return err
	}
	given, err := w.client.Teams.GetScopedUserRoles(*team, core.SkipTakeQuery{})
	if err != nil {
		return err
	}
	return errors.Join(
		want(len(given.Items) == 1 && given.Items[0].ID == scope.ID, "the role on the team"),
		w.client.ScopedUserRoles.DeleteByID(scope.ID),
		w.client.Teams.Delete(team),
		w.client.UserRoles.DeleteByID(role.ID),
	)
}

func identities(w *world) error {
	wish := serviceaccounts.NewOIDCIdentity(w.account.ID, "n", "https://i.test", "s")
	made, err := serviceaccounts.AddOIDCIdentity(w.client, wish)
	if err != nil {
		return err
	}
	query := serviceaccounts.OIDCIdentityQuery{ServiceAccountId: w.account.ID, Take: 30}
	data, err := serviceaccounts.GetServiceAccountOIDCData(w.client, query)
	if err != nil {
		return err
	}
	wish.ID, wish.Subject = made.ID, "other"
	if err := serviceaccounts.UpdateOIDCIdentity(w.client, wish); err != nil {
		return err
	}
	read, err := serviceaccounts.GetOIDCIdentityByID(w.client, w.account.ID, made.ID)
	if err != nil {
		return err
	}
	if err := serviceaccounts.DeleteOIDCIdentityByID(w.client, w.account.ID, made.ID); err != nil {
		return err
	}
	_, gone := serviceaccounts.GetOIDCIdentityByID(w.client, w.account.ID, made.ID)
	return errors.Join(
		want(data.Count == 1 && len(data.ExternalId) == 36, "one identity and a GUID"),
		want(read.Subject == "other", "the changed subject"),
		refused(gone, http.StatusNotFound, "was not found"),
	)
}

func pages(w *world) error {
	for n := range 35 {
		if _, err := service(w, name(fmt.Sprintf("page %d", n))); err != nil {
			return err
		}
	}
	first, err := users.Get(w.client, "", users.UsersQuery{Filter: name("PAGE")})
	if err != nil {
		return err
	}
	all, err := first.GetAllPages(w.client.Users.GetClient())
	if err != nil {
		return err
	}
	return errors.Join(
		want(first.TotalResults == 35 && len(first.Items) == 30, "a first page of 30 of 35"),
		want(len(all) == 35, "35 on all pages, got %d", len(all)),
	)
}

func throttled(w *world) error {
	fault := `{"fault":"throttled","retryAfter":1,"path":"/api/users","times":{"next":1}}`
	control := os.Getenv("TWIN_CONTROL_URL") + "/faults"
	answer, err := http.Post(control, "application/json", strings.NewReader(fault))
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	_, err = users.Get(w.client, "", users.UsersQuery{})
	_, again := users.Get(w.client, "", users.UsersQuery{})
	return errors.Join(refused(err, http.StatusTooManyRequests, ""), again)
}

func switchOff(w *world) error {
	off := *w.account
	off.IsActive = false
	changed, err := users.Update(w.client, &off)
	if err != nil {
		return err
	}
	its, err := connect(w.key.APIKey)
	if err == nil {
		_, err = its.Users.GetMe()
	}
	if err == nil {
		return errors.New("expected the key to stop with its account")
	}
	_, back := users.Update(w.client, w.account)
	return errors.Join(want(!changed.IsActive, "the account to be off"), back)
}

func deleteKey(w *world) error {
	path := keyPath(w.account.ID, w.key.ID)
	if err := newclient.Delete(w.client.HttpSession(), path); err != nil {
		return err
	}
	_, gone := w.client.APIKeys.GetByID(w.account.ID, w.key.ID)
	its, err := connect(w.key.APIKey)
	if err == nil {
		_, err = its.Users.GetMe()
	}
	return errors.Join(
		refused(gone, http.StatusNotFound, "was not found"),
		want(err != nil, "the key to be dead"),
	)
}

func deleteAccount(w *world) error {
	if err := users.DeleteByID(w.client, w.account.ID); err != nil {
		return err
	}
	_, gone := users.GetByID(w.client, w.account.ID)
	return refused(gone, http.StatusNotFound, "was not found")
}
