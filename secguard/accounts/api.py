"""``/api/v1/``: me, users, memberships, teams, applications, tokens. The rules are in ``accounts.services``."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts import services
from secguard.accounts.authentication import person_of
from secguard.accounts.limits import MAX_REPOSITORIES
from secguard.accounts.models import ApiToken, Application, Membership, Team, User
from secguard.accounts.roles import PERMISSIONS, Permission, Role

ROLES = [role.value for role in Role]


class VisibleTeam(serializers.SlugRelatedField):  # type: ignore[type-arg]
    """A team by its slug, among those the person may see: another team's is no different from one that is not."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("queryset", Team.objects.all())
        super().__init__(slug_field="slug", **kwargs)

    def get_queryset(self) -> QuerySet[Team]:
        return Team.objects.visible_to(self.context["request"].user)


class Visible(viewsets.GenericViewSet[Any]):
    """Rows that the person may see; anything else is 404, whether it is there or not."""

    def get_queryset(self) -> QuerySet[Any]:
        rows: Any = super().get_queryset()
        found: QuerySet[Any] = rows
        if not getattr(self, "swagger_fake_view", False):
            found = rows.visible_to(person_of(self.request))
        return found

    def body(self, **kwargs: Any) -> dict[str, Any]:
        """What was sent, checked by the view's serializer."""
        serializer = self.get_serializer(data=self.request.data, **kwargs)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


# --- me ---


class GrantSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(ROLES)
    team = serializers.SlugField(allow_null=True, help_text="null: in the whole organisation")


class LimitField(serializers.ListField):
    """To which applications a token or a CI identity is limited, by their slugs; null: no such limit."""

    child = serializers.SlugField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            source="application_ids",
            read_only=True,
            allow_null=True,
            help_text="Limited to these of its team's applications; null: no such limit.",
            **kwargs,
        )

    def to_representation(self, data: list[int]) -> list[str]:
        # Read once for all rows of an answer, and only where one is limited.
        names: dict[int, str] | None = getattr(self.root, "application_slugs", None)
        if names is None:
            names = dict(Application.objects.values_list("pk", "slug"))
            self.root.application_slugs = names  # type: ignore[attr-defined]
        return [names[pk] for pk in data if pk in names]


class ApplicationsField(serializers.ListField):
    """Some applications by their slugs, among those the person may see; one query."""

    child = serializers.SlugField(max_length=100)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=services.MAX_APPLICATIONS,
            required=False,
            default=list,
            help_text="Limit it to these, all of one team, and nothing else. Empty: no such limit.",
            **kwargs,
        )

    def to_internal_value(self, data: Any) -> list[Application]:
        slugs = set(super().to_internal_value(data))
        rows = Application.objects.visible_to(self.context["request"].user).select_related("team")
        found = list(rows.filter(slug__in=slugs).order_by("slug"))
        if unknown := sorted(slugs - {application.slug for application in found}):
            raise serializers.ValidationError(f"There is no application {unknown[0]!r} that you may see.")
        return found


class NamesField(serializers.ListField):
    """The patterns of repositories' names that a token or a CI identity is limited to; null: no such limit."""

    child = serializers.CharField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            read_only=True,
            allow_null=True,
            help_text="Limited to repositories of its team whose names fit one of these; null: no such limit.",
            **kwargs,
        )


class PatternsField(serializers.ListField):
    """Patterns of repositories' names. The rules are in ``accounts.limits``."""

    child = serializers.CharField(max_length=300)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=MAX_REPOSITORIES,
            required=False,
            default=list,
            help_text="Limit it to repositories of the team whose names fit one of these, held against the whole name: "
            "registry.example/shop/api, registry.example/shop/* (one part), registry.example/** (everything below). "
            "Empty: no such limit. With `applications` too, both hold.",
            **kwargs,
        )


class MyTokenSerializer(serializers.ModelSerializer[ApiToken]):
    applications = LimitField()
    repositories = NamesField()

    class Meta:
        model = ApiToken
        fields = ("id", "name", "prefix", "expires_at", "applications", "repositories")


class MeSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    username = serializers.CharField()
    display_name = serializers.CharField()
    email = serializers.CharField()
    is_service = serializers.BooleanField()
    roles = GrantSerializer(many=True, help_text="As narrow as the token that the request came with.")
    permissions = serializers.ListField(child=serializers.ChoiceField([p.value for p in Permission]))
    token = MyTokenSerializer(allow_null=True)


class MeView(APIView):
    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Who asks, and what this request may do."""
        user = person_of(request)
        grants = user.grants()
        if user.token is not None and user.limit is not None and not user.limit.is_void:
            grants = [(Role(user.token.role), user.token.team_id)]
        slugs = dict(Team.objects.filter(pk__in=[team for _, team in grants if team]).values_list("pk", "slug"))
        held = {permission.value for role, _ in grants for permission in PERMISSIONS[role]}
        document = {
            "id": user.pk,
            "username": user.username,
            "display_name": user.display_name,
            "email": user.email,
            "is_service": user.is_service,
            "roles": [{"role": role.value, "team": slugs.get(team) if team else None} for role, team in grants],
            "permissions": sorted(held),
            "token": user.token,
        }
        return Response(MeSerializer(document).data)


# --- people ---


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    user = serializers.CharField(source="user.username")
    team = serializers.SlugField(source="team.slug", allow_null=True, default=None)

    class Meta:
        model = Membership
        fields = ("id", "user", "role", "team")
        read_only_fields = fields


class RoleHeldSerializer(serializers.ModelSerializer[Membership]):
    team = serializers.SlugField(source="team.slug", allow_null=True, default=None)

    class Meta:
        model = Membership
        fields = ("id", "role", "team")


class UserSerializer(serializers.ModelSerializer[User]):
    memberships = RoleHeldSerializer(many=True, read_only=True)
    email = serializers.SerializerMethodField(help_text="One's own, or everybody's for who may user:manage.")

    class Meta:
        model = User
        fields = (
            "id",
            "username",
            "display_name",
            "email",
            "is_active",
            "is_service",
            "is_sample",
            "created_at",
            "last_login",
            "memberships",
        )
        read_only_fields = fields

    def get_email(self, user: User) -> str:
        asking: User = self.context["request"].user
        may_see = asking.pk == user.pk or asking.teams_with(Permission.USER_MANAGE) is None
        return user.email if may_see else ""


class NewUserSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(ROLES)
    team = VisibleTeam(required=False, allow_null=True, help_text="null: in the whole organisation")
    display_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)
    is_service = serializers.BooleanField(required=False)


class EditUserSerializer(serializers.Serializer[Any]):
    display_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)


class SignInLinkSerializer(serializers.Serializer[Any]):
    sign_in_link = serializers.URLField(help_text="Works once, for a day. It is shown here and nowhere else.")


class UserViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """People and services. Outside of one's teams only who has a role in the whole organisation sees them."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    filterset_fields = ("username", "is_active", "is_service")
    ordering_fields = ("username", "created_at")
    ordering = "username"
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[User]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        # A colleague's roles in other teams are those teams' own affair.
        shown = Membership.objects.visible_to(person_of(self.request)).select_related("team")
        return rows.prefetch_related(Prefetch("memberships", shown))

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """Make a person or a service with a first role. A person signs in by a link: POST `sign-in-link/`."""
        sent = self._read(NewUserSerializer)
        user = services.create_user(sent.pop("username"), sent.pop("role"), actor=person_of(request), **sent)
        return self._shown(user, status.HTTP_201_CREATED)

    @extend_schema(request=EditUserSerializer, responses=UserSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change how somebody is called and reached."""
        user = self.get_object()
        kept = {"display_name": user.display_name, "email": user.email}
        services.edit_user(user.pk, actor=person_of(request), **kept | self._read(EditUserSerializer))
        return self._shown(user)

    @extend_schema(request=None, responses=UserSerializer)
    @action(detail=True, methods=["post"])
    def deactivate(self, request: Request, pk: str) -> Response:
        """End somebody's access now, sessions and tokens with it."""
        return self._shown(services.deactivate(self.get_object().pk, actor=person_of(request)))

    @extend_schema(request=None, responses=UserSerializer)
    @action(detail=True, methods=["post"])
    def reactivate(self, request: Request, pk: str) -> Response:
        """Let a deactivated person back in, with the roles they had."""
        return self._shown(services.reactivate(self.get_object().pk, actor=person_of(request)))

    @extend_schema(request=None, responses={201: SignInLinkSerializer})
    @action(detail=True, methods=["post"], url_path="sign-in-link")
    def sign_in_link(self, request: Request, pk: str) -> Response:
        """Make a one-time way in, for an invitation or a forgotten password; ends earlier ones."""
        path = services.issue_sign_in_link(self.get_object().pk, actor=person_of(request))
        return Response({"sign_in_link": request.build_absolute_uri(path)}, status.HTTP_201_CREATED)

    def _read(self, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        serializer = serializer_class(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def _shown(self, user: User, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=user.pk)).data, code)


class NewMembershipSerializer(serializers.Serializer[Any]):
    user = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(ROLES)
    team = VisibleTeam(required=False, allow_null=True, help_text="null: in the whole organisation")

    def validate_user(self, username: str) -> User:
        visible = User.objects.visible_to(self.context["request"].user)
        user = visible.filter(username__iexact=username).first()
        if user is None:
            raise serializers.ValidationError(f"There is no user {username!r} that you may see.")
        return user


class MembershipViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """Who holds which role where."""

    queryset = Membership.objects.select_related("user", "team")
    serializer_class = MembershipSerializer
    filterset_fields = ("role",)
    lookup_value_regex = r"[0-9]{1,18}"

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return NewMembershipSerializer if self.action == "create" else MembershipSerializer

    @extend_schema(request=NewMembershipSerializer, responses={201: MembershipSerializer})
    def create(self, request: Request) -> Response:
        """Give a role. One that is held already is given back unchanged."""
        sent = self.body()
        membership = services.grant(sent["user"].pk, sent["role"], actor=person_of(request), team=sent.get("team"))
        return Response(MembershipSerializer(membership).data, status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take a role back, at once for every session and token."""
        services.revoke(self.get_object().pk, actor=person_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


# --- teams and applications ---


class TeamSerializer(serializers.ModelSerializer[Team]):
    name = serializers.CharField(max_length=100)

    class Meta:
        model = Team
        fields = ("id", "slug", "name", "is_sample", "created_at")
        read_only_fields = ("id", "slug", "is_sample", "created_at")


class TeamViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """Who owns applications together."""

    queryset = Team.objects.all()
    serializer_class = TeamSerializer
    lookup_field = "slug"
    ordering_fields = ("name", "created_at")
    ordering = "name"

    def create(self, request: Request) -> Response:
        """Make a team."""
        team = services.create_team(self.body()["name"], actor=person_of(request))
        return Response(self.get_serializer(team).data, status.HTTP_201_CREATED)

    def partial_update(self, request: Request, slug: str) -> Response:
        """Call a team otherwise; its slug stays."""
        team = self.get_object()
        name = self.body(partial=True).get("name", team.name)
        return Response(self.get_serializer(services.rename_team(team.pk, name, actor=person_of(request))).data)


class ApplicationSerializer(serializers.ModelSerializer[Application]):
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    team = VisibleTeam()

    class Meta:
        model = Application
        fields = (
            "id",
            "slug",
            "name",
            "description",
            "team",
            "is_exposed",
            "is_production",
            "impact",
            "is_sample",
            "created_at",
        )
        read_only_fields = ("id", "slug", "is_sample", "created_at")


class ApplicationFilter(django_filters.FilterSet):
    team = django_filters.CharFilter(field_name="team__slug", label="A team's slug")

    class Meta:
        model = Application
        fields = ("is_exposed", "is_production", "impact")


class ApplicationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """What the teams own."""

    queryset = Application.objects.select_related("team")
    serializer_class = ApplicationSerializer
    lookup_field = "slug"
    filterset_class = ApplicationFilter
    ordering_fields = ("name", "created_at")
    ordering = "name"

    def create(self, request: Request) -> Response:
        """Make an application that a team owns. Its `impact` is said afterwards, by security."""
        sent = self.body()
        actor, impact = person_of(request), sent.pop("impact", "")
        with transaction.atomic():
            application = services.create_application(sent.pop("name"), actor=actor, **sent)
            if impact:
                application = services.say_impact(application.pk, impact, actor=actor)
        return Response(self.get_serializer(application).data, status.HTTP_201_CREATED)

    def partial_update(self, request: Request, slug: str) -> Response:
        """Change some of it; to hand it to another team needs application:edit in both, `impact` application:impact."""
        application, actor, sent = self.get_object(), person_of(request), self.body(partial=True)
        with transaction.atomic():
            if "impact" in sent:
                application = services.say_impact(application.pk, sent.pop("impact"), actor=actor)
                if not sent:
                    return Response(self.get_serializer(application).data)
            application = services.edit_application(application.pk, actor=actor, **sent)
        return Response(self.get_serializer(application).data)


# --- tokens ---


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    user = serializers.CharField(source="user.username")
    team = serializers.SlugField(source="team.slug", allow_null=True, default=None)
    applications = LimitField()
    repositories = NamesField()
    status = serializers.SerializerMethodField()

    class Meta:
        model = ApiToken
        fields = (
            "id",
            "name",
            "prefix",
            "user",
            "role",
            "team",
            "applications",
            "repositories",
            "status",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(["active", "expired", "revoked"]))
    def get_status(self, token: ApiToken) -> str:
        return token.state(timezone.now())


class NewTokenSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    role = serializers.ChoiceField(ROLES)
    team = VisibleTeam(required=False, allow_null=True, help_text="null: wherever the role is held")
    applications = ApplicationsField()
    repositories = PatternsField()
    user = serializers.CharField(max_length=150, required=False, help_text="A service's name; default: oneself.")
    expires_in_days = serializers.IntegerField(min_value=1, max_value=services.MAX_DAYS, default=services.DAYS)

    def validate_user(self, username: str) -> User:
        visible = User.objects.visible_to(self.context["request"].user)
        user = visible.filter(username__iexact=username).first()
        if user is None:
            raise serializers.ValidationError(f"There is no user {username!r} that you may see.")
        return user


class MadeTokenSerializer(TokenSerializer):
    token = serializers.CharField(help_text="The secret itself. It is shown here and nowhere else, ever.")

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class TokenFilter(django_filters.FilterSet):
    user = django_filters.CharFilter(field_name="user__username", label="A user's name")
    revoked = django_filters.BooleanFilter(field_name="revoked_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = ApiToken
        fields = ("role",)


class TokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """One's own tokens; all of them for who may token:manage."""

    queryset = ApiToken.objects.select_related("user", "team")
    serializer_class = TokenSerializer
    filterset_class = TokenFilter
    ordering = "-created_at"
    lookup_value_regex = r"[0-9]{1,18}"

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return NewTokenSerializer if self.action == "create" else TokenSerializer

    @extend_schema(request=NewTokenSerializer, responses={201: MadeTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make a token. The answer holds its value, once."""
        sent = self.body()
        token, raw = services.create_token(
            sent.get("user", person_of(request)).pk,
            sent["role"],
            actor=person_of(request),
            name=sent["name"],
            team=sent.get("team"),
            days=sent["expires_in_days"],
            applications=sent["applications"],
            repositories=sent["repositories"],
        )
        return self._made(token, raw)

    @extend_schema(request=None, responses={201: MadeTokenSerializer})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Replace a token by a new one with the same role, team and lifetime; the old one ends now."""
        return self._made(*services.rotate_token(self.get_object().pk, actor=person_of(request)))

    @extend_schema(responses={204: OpenApiResponse(description="Revoked.")})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a token; it ends now and stays in the list."""
        services.revoke_token(self.get_object().pk, actor=person_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _made(self, token: ApiToken, raw: str) -> Response:
        token.token = raw  # type: ignore[attr-defined]
        return Response(MadeTokenSerializer(token).data, status.HTTP_201_CREATED)
